"""Writes GGUF files, version 3, little-endian."""

import struct
from dataclasses import dataclass

import numpy as np

from sluice_export import gguf_format as gguf
from sluice_export import mxfp4
from sluice_export.dtypes import NUMPY_TYPES
from sluice_export.errors import ExportError


@dataclass(frozen=True)
class MXFP4Tensor:
  """A tensor of MXFP4 blocks, from the form that `mxfp4` describes; made for `write` alone.

  Attributes:
    name: name in the file.
    blocks: uint8 [..., groups, 16].
    scales: uint8 [..., groups].
  """

  name: str
  blocks: np.ndarray
  scales: np.ndarray
  dtype = "MXFP4"

  @property
  def shape(self):
    """Sizes in values."""
    return (*self.scales.shape[:-1], self.scales.shape[-1] * mxfp4.GROUP)

  @property
  def nbytes(self):
    """Bytes as stored."""
    return self.blocks.size + self.scales.size

  def stored(self):
    """Returns the bytes: each scale before its codes, values 0-15 low and 16-31 high."""
    codes = mxfp4.unpack(self.blocks, self.scales)[0].reshape(*self.scales.shape, mxfp4.GROUP)
    low, high = np.split(codes, 2, axis=-1)
    return np.concatenate([self.scales[..., None], low | high << 4], axis=-1)


def header_bytes(metadata, tensors):
  """Returns everything before the tensor data, padded to the alignment.

  Args:
    metadata: key to gguf_format.Value, in the order to write.
    tensors: list of Tensor, each F32, F16 or BF16, or of MXFP4Tensor.
  """
  parts = [gguf.MAGIC, struct.pack("<IQQ", gguf.WRITE_VERSION, len(tensors), len(metadata))]
  for key, value in metadata.items():
    parts.append(_string(key))
    parts.append(_value(key, value))
  offset = 0
  for tensor in tensors:
    if tensor.dtype not in gguf.TENSOR_TYPE_IDS:
      raise ExportError(tensor.name, f"type {tensor.dtype}", expected="F32, F16 or BF16")
    if len(tensor.name.encode()) > gguf.MAX_NAME_BYTES:
      raise ExportError(tensor.name, "name too long for GGUF",
                        expected=f"at most {gguf.MAX_NAME_BYTES} bytes")
    if not 1 <= len(tensor.shape) <= gguf.MAX_DIMENSIONS:
      raise ExportError(tensor.name, f"{len(tensor.shape)} dimensions",
                        expected=f"1 to {gguf.MAX_DIMENSIONS}")
    parts.append(_string(tensor.name))
    parts.append(struct.pack("<I", len(tensor.shape)))
    parts.append(struct.pack(f"<{len(tensor.shape)}Q", *reversed(tensor.shape)))
    parts.append(struct.pack("<IQ", gguf.TENSOR_TYPE_IDS[tensor.dtype], offset))
    offset += _aligned(tensor.nbytes)
  header = b"".join(parts)
  return header + bytes(_aligned(len(header)) - len(header))


def file_size(metadata, tensors):
  """Returns the bytes that `write` will write."""
  return len(header_bytes(metadata, tensors)) + sum(_aligned(t.nbytes) for t in tensors)


def write(file, metadata, tensors):
  """Writes a whole GGUF file, loading one tensor at a time.

  Args:
    file: binary file, at its start.
    metadata: key to gguf_format.Value. A general.alignment is refused: the default holds.
    tensors: list of Tensor or MXFP4Tensor.
  """
  if "general.alignment" in metadata:
    raise ExportError("general.alignment", "set by the caller",
                      expected=f"absent, for {gguf.DEFAULT_ALIGNMENT}")
  file.write(header_bytes(metadata, tensors))
  for tensor in tensors:
    if isinstance(tensor, MXFP4Tensor):
      values = tensor.stored()
    else:
      values = np.asarray(tensor.load(), dtype=NUMPY_TYPES[tensor.dtype], order="C")
      if tuple(values.shape) != tensor.shape:
        raise ExportError(tensor.name, f"shape {list(values.shape)}", expected=list(tensor.shape))
    file.write(values.reshape(-1).view("u1"))
    file.write(bytes(_aligned(tensor.nbytes) - tensor.nbytes))


def _aligned(size):
  return -(-size // gguf.DEFAULT_ALIGNMENT) * gguf.DEFAULT_ALIGNMENT


def _string(text):
  data = text.encode("utf-8")
  return struct.pack("<Q", len(data)) + data


def _value(key, value):
  if value.type == gguf.STRING:
    return struct.pack("<I", gguf.STRING) + _string(value.value)
  if value.type == gguf.ARRAY:
    head = struct.pack("<IIQ", gguf.ARRAY, value.item_type, len(value.value))
    if value.item_type == gguf.STRING:
      return head + b"".join(_string(item) for item in value.value)
    return head + np.asarray(value.value, dtype=gguf.SCALAR_TYPES[value.item_type]).tobytes()
  dtype = gguf.SCALAR_TYPES[value.type]
  if value.type not in (gguf.FLOAT32, gguf.FLOAT64):
    limits = np.iinfo(dtype)
    if not limits.min <= value.value <= limits.max:
      raise ExportError(key, f"{value.value}", expected=f"{limits.min} to {limits.max}")
  return struct.pack("<I", value.type) + np.array(value.value, dtype=dtype).tobytes()

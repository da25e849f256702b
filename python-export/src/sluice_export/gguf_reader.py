"""Reads GGUF files and trusts nothing in them.

Every count and length is checked against the bytes that are really there before anything is
allocated, so that a truncated or hostile file ends in an ExportError.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np

from sluice_export import gguf_format as gguf
from sluice_export.dtypes import NUMPY_TYPES
from sluice_export.errors import ExportError
from sluice_export.quant import FORMATS
from sluice_export.tensor import Tensor


@dataclass(frozen=True)
class StoredTensor:
  """Where a tensor lies in the file.

  Attributes:
    name: its name.
    type: name of the tensor type, see gguf_format.TENSOR_TYPES.
    shape: sizes, slowest axis first (the file has them the other way round).
    offset: first byte, from the start of the file.
    nbytes: bytes as stored.
  """

  name: str
  type: str
  shape: Tuple[int, ...]
  offset: int
  nbytes: int


class GgufFile:
  """A GGUF file's metadata and tensors.

  Attributes:
    path: the file.
    metadata: key to gguf_format.Value, in the file's order.
    stored: name to StoredTensor, in the file's order.
  """

  def __init__(self, path):
    """Reads and checks the header.

    Raises:
      ExportError: not a GGUF file of version 2 or 3, truncated, or against the rules.
    """
    self.path = Path(path)
    with open(self.path, "rb") as file:
      header = _Header(self.path, file)
      self.metadata, directory = header.read()
      self.stored = _place(self.path, directory, header, self.metadata)

  def text(self, key):
    """Returns a string of the metadata, or None."""
    return self._typed(key, lambda v: isinstance(v, str), "a string")

  def texts(self, key):
    """Returns a list of strings of the metadata; ExportError if the file lacks it."""
    return self._required(key, self._typed(key, lambda v: isinstance(v, list), "a list of strings"))

  def flag(self, key):
    """Returns a boolean of the metadata, or None."""
    return self._typed(key, lambda v: isinstance(v, bool), "true or false")

  def token_id(self, name):
    """Returns tokenizer.ggml.<name>_token_id, or None."""
    return self._typed(f"tokenizer.ggml.{name}_token_id",
                       lambda v: _is_whole(v) and 0 <= v < 1 << 31, "a token id")

  def count(self, key, default=None):
    """Returns a whole number of the metadata, 1 to 2^31 - 1; ExportError if there is none.

    An array of equal numbers, as some files have one per layer, counts as the number.
    """
    value = self.metadata[key].value if key in self.metadata else None
    if isinstance(value, np.ndarray) and value.size and (value == value[0]).all():
      value = value[0].item()
      self._check(key, value, _is_whole(value) and 1 <= value < 1 << 31, _COUNT)
      return value
    value = self._typed(key, lambda v: _is_whole(v) and 1 <= v < 1 << 31, _COUNT)
    return self._required(key, default if value is None else value)

  def number(self, key, default=None):
    """Returns a positive number of the metadata; ExportError if there is none."""
    value = self._typed(
        key, lambda v: isinstance(v, (int, float)) and not isinstance(v, bool) and 0 < v < 1e30,
        "a positive number")
    if value is not None and self.metadata[key].type == gguf.FLOAT32:
      # The shortest decimal that gives the stored float32: 1e-05, not 9.999999747378752e-06.
      value = float(str(np.float32(value)))
    return self._required(key, default if value is None else value)

  def _typed(self, key, accepts, expected):
    if key not in self.metadata:
      return None
    value = self.metadata[key].value
    self._check(key, value, accepts(value), expected)
    return value

  def _check(self, key, value, good, expected):
    if not good:
      raise ExportError(self.path.name, f"{key} is {str(value)[:60]}", expected=expected)

  def _required(self, key, value):
    if value is None:
      raise ExportError(self.path.name, f"no metadata key {key}",
                        expected="a complete model file", remedy="convert the model to GGUF again")
    return value

  def tensors(self) -> List[Tensor]:
    """Returns the tensors in the file's order; block formats come out as F32."""
    return [self._tensor(stored) for stored in self.stored.values()]

  def _tensor(self, stored):
    if stored.type in gguf.PLAIN_TYPES:
      return Tensor(stored.name, stored.type, stored.shape, lambda: self._plain(stored))
    return Tensor(stored.name, "F32", stored.shape, lambda: self._blocks(stored))

  def _bytes(self, stored):
    with open(self.path, "rb") as file:
      file.seek(stored.offset)
      data = file.read(stored.nbytes)
    if len(data) != stored.nbytes:
      raise ExportError(self.path.name, f"{stored.name} ends early: {len(data)} bytes",
                        expected=f"{stored.nbytes}", remedy="the file changed while it was read")
    return np.frombuffer(data, dtype=np.uint8)

  def _plain(self, stored):
    return self._bytes(stored).view(NUMPY_TYPES[stored.type]).reshape(stored.shape)

  def _blocks(self, stored):
    block = FORMATS[stored.type]
    blocks = self._bytes(stored).reshape(-1, block.BLOCK_BYTES)
    values = np.empty((blocks.shape[0], block.BLOCK_SIZE), dtype="<f4")
    # In runs, so that the temporaries stay small beside the result.
    run = max(1, (1 << 20) // block.BLOCK_SIZE)
    for start in range(0, blocks.shape[0], run):
      values[start:start + run] = block.decode(blocks[start:start + run])
    return values.reshape(stored.shape)


_COUNT = "a whole number from 1 to 2^31 - 1"


def _is_whole(value):
  return isinstance(value, int) and not isinstance(value, bool)


class _Header:
  """Reads the fields before the tensor data, never past the end of the file."""

  def __init__(self, path, file):
    self.path = path
    self.file = file
    self.size = os.fstat(file.fileno()).st_size
    self.position = 0

  def fail(self, problem, expected=None, remedy=None):
    raise ExportError(self.path.name, problem, expected=expected, remedy=remedy)

  def take(self, count, what):
    """Returns the next `count` bytes."""
    left = self.size - self.position
    if count > left:
      self.fail(f"{what}: {count} bytes, but {left} are left in the file",
                expected="a complete GGUF file", remedy="download or convert it again")
    data = self.file.read(count)
    if len(data) != count:
      self.fail(f"{what}: the file shrank while it was read")
    self.position += count
    return data

  def number(self, layout, what):
    return struct.unpack(layout, self.take(struct.calcsize(layout), what))[0]

  def string(self, what, limit=None):
    length = self.number("<Q", f"length of {what}")
    if limit is not None and length > limit:
      self.fail(f"{what}: {length} bytes long", expected=f"at most {limit}")
    return self.text(self.take(length, what), what)

  def text(self, data, what):
    try:
      return data.decode("utf-8")
    except UnicodeDecodeError:
      self.fail(f"{what} is not valid UTF-8: {data[:40]!r}", expected="UTF-8")

  def read(self):
    """Returns (metadata, [(name, type, shape, offset)])."""
    magic = self.take(4, "magic")
    if magic != gguf.MAGIC:
      self.fail(f"begins with {magic!r}", expected="GGUF", remedy="give a GGUF file")
    version = self.number("<I", "version")
    if version not in gguf.VERSIONS:
      if struct.unpack(">I", struct.pack("<I", version))[0] in gguf.VERSIONS:
        self.fail("big-endian GGUF", expected="little-endian", remedy="convert the model again")
      self.fail(f"GGUF version {version}", expected="2 or 3", remedy="convert the model again")
    tensor_count = self.number("<Q", "tensor count")
    metadata_count = self.number("<Q", "metadata count")
    if tensor_count > gguf.MAX_TENSORS:
      self.fail(f"{tensor_count} tensors", expected=f"at most {gguf.MAX_TENSORS}")
    if metadata_count > gguf.MAX_METADATA:
      self.fail(f"{metadata_count} metadata keys", expected=f"at most {gguf.MAX_METADATA}")
    metadata: Dict[str, gguf.Value] = {}
    for _ in range(metadata_count):
      key = self.string("metadata key", gguf.MAX_KEY_BYTES)
      if not key:
        self.fail("empty metadata key", expected="a name")
      if key in metadata:
        self.fail(f"metadata key {key} occurs twice", expected="once")
      metadata[key] = self.value(key)
    return metadata, [self.tensor() for _ in range(tensor_count)]

  def value(self, key):
    kind = self.number("<I", f"type of {key}")
    if kind == gguf.STRING:
      return gguf.Value(kind, self.string(key))
    if kind == gguf.ARRAY:
      return self.array(key)
    if kind not in gguf.SCALAR_TYPES:
      self.fail(f"{key}: unknown value type {kind}", expected="0 to 12")
    dtype = gguf.SCALAR_TYPES[kind]
    number = np.frombuffer(self.take(dtype.itemsize, key), dtype=dtype)[0].item()
    if kind == gguf.BOOL:
      if number not in (0, 1):
        self.fail(f"{key}: boolean of value {number}", expected="0 or 1")
      number = bool(number)
    return gguf.Value(kind, number)

  def array(self, key):
    kind = self.number("<I", f"item type of {key}")
    count = self.number("<Q", f"item count of {key}")
    if kind == gguf.STRING:
      if count > (self.size - self.position) // 8:
        self.fail(f"{key}: {count} strings do not fit in the file", expected="a complete file")
      return gguf.Value(gguf.ARRAY, self.strings(key, count), kind)
    if kind not in gguf.SCALAR_TYPES:
      self.fail(f"{key}: array of value type {kind}", expected="strings, numbers or booleans")
    dtype = gguf.SCALAR_TYPES[kind]
    items = np.frombuffer(self.take(count * dtype.itemsize, key), dtype=dtype)
    return gguf.Value(gguf.ARRAY, items, kind)

  def strings(self, key, count):
    what = f"item of {key}"
    items = []
    for _ in range(count):
      items.append(self.string(what))
    return items

  def tensor(self):
    name = self.string("tensor name", gguf.MAX_NAME_BYTES)
    if not name:
      self.fail("empty tensor name", expected="a name")
    dimensions = self.number("<I", f"dimensions of {name}")
    if not 1 <= dimensions <= gguf.MAX_DIMENSIONS:
      self.fail(f"{name}: {dimensions} dimensions", expected=f"1 to {gguf.MAX_DIMENSIONS}")
    shape = tuple(self.number("<Q", f"shape of {name}") for _ in range(dimensions))[::-1]
    if min(shape) < 1:
      self.fail(f"{name}: shape {list(shape)}", expected="sizes of at least 1")
    kind = self.number("<I", f"type of {name}")
    return name, kind, shape, self.number("<Q", f"offset of {name}")


def _place(path, directory, header, metadata):
  """Checks the tensor directory against the file and returns name to StoredTensor."""
  alignment = _alignment(path, metadata)
  start = -(-header.position // alignment) * alignment
  stored = {}
  for name, kind, shape, offset in directory:
    if name in stored:
      header.fail(f"tensor {name} occurs twice", expected="once")
    type_name, nbytes = _size(header, name, kind, shape)
    if offset % alignment:
      header.fail(f"{name}: offset {offset}", expected=f"a multiple of {alignment}")
    if start + offset + nbytes > header.size:
      header.fail(f"{name}: ends at byte {start + offset + nbytes} of a file of {header.size}",
                  expected="a complete file", remedy="download or convert it again")
    stored[name] = StoredTensor(name, type_name, shape, start + offset, nbytes)
  ordered = sorted(stored.values(), key=lambda tensor: tensor.offset)
  for before, after in zip(ordered, ordered[1:]):
    if before.offset + before.nbytes > after.offset:
      header.fail(f"{before.name} and {after.name} overlap", expected="tensors apart")
  return stored


def _alignment(path, metadata):
  value = metadata.get("general.alignment", gguf.uint32(gguf.DEFAULT_ALIGNMENT))
  alignment = value.value
  if (value.type != gguf.UINT32 or not 1 <= alignment <= gguf.MAX_ALIGNMENT
      or alignment & (alignment - 1)):
    raise ExportError(path.name, f"general.alignment: {alignment}",
                      expected=f"a power of two up to {gguf.MAX_ALIGNMENT}, as uint32")
  return alignment


def _size(header, name, kind, shape):
  """Returns (type name, bytes); Python's integers cannot overflow here."""
  type_name = gguf.TENSOR_TYPES.get(kind, str(kind))
  count = 1
  for size in shape:
    count *= size
  if type_name in gguf.PLAIN_TYPES:
    return type_name, count * NUMPY_TYPES[type_name].itemsize
  if type_name not in FORMATS:
    supported = ", ".join(gguf.PLAIN_TYPES + tuple(FORMATS))
    header.fail(f"{name}: tensor type {type_name} is not supported", expected=supported,
                remedy="quantize the model to one of these")
  block = FORMATS[type_name]
  if shape[-1] % block.BLOCK_SIZE:
    header.fail(f"{name}: rows of {shape[-1]} values as {type_name}",
                expected=f"a multiple of {block.BLOCK_SIZE}")
  return type_name, count // block.BLOCK_SIZE * block.BLOCK_BYTES

"""Reads and writes safetensors files without any framework.

The `safetensors` package returns bfloat16 only through a framework and keeps the last of two equal
keys; this reader gives numpy arrays and refuses every departure from the format. The writer
streams, so that a shard never has to fit in memory.
"""

import json
import os
import re
import struct
from pathlib import Path
from typing import List

import numpy as np

from sluice_export.dtypes import NUMPY_TYPES
from sluice_export.errors import ExportError
from sluice_export.strict_json import parse_object
from sluice_export.tensor import Tensor

MAX_HEADER_BYTES = 100_000_000
MAX_TENSORS = 1_000_000
MAX_RANK = 16
INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"


def read_file(path) -> List[Tensor]:
  """Reads and checks a file's header.

  Returns:
    The tensors in the order of their bytes.

  Raises:
    ExportError: the file breaks a rule of the format, or holds an element type that numpy lacks.
  """
  path = Path(path)
  with open(path, "rb") as file:
    size = os.fstat(file.fileno()).st_size
    if size < 8:
      raise ExportError(path.name, f"{size} bytes long", expected="at least 8",
                        remedy="download or convert it again")
    length = struct.unpack("<Q", file.read(8))[0]
    if length > MAX_HEADER_BYTES or 8 + length > size:
      raise ExportError(path.name, f"header of {length} bytes in a file of {size}",
                        expected="a complete safetensors file", remedy="download it again")
    header = parse_object(file.read(length), path.name)
  start = 8 + length
  _check_metadata(path, header.pop("__metadata__", {}))
  if len(header) > MAX_TENSORS:
    raise ExportError(path.name, f"{len(header)} tensors", expected=f"at most {MAX_TENSORS}")
  entries = sorted((_entry(path, name, value) for name, value in header.items()),
                   key=lambda entry: (entry[3], entry[4]))
  end = 0
  for name, _, _, first, last in entries:
    if first != end:
      word = "overlaps the tensor before it" if first < end else "leaves a hole before it"
      raise ExportError(path.name, f"{name} begins at byte {first} and {word}", expected=f"{end}")
    end = last
  if start + end != size:
    raise ExportError(path.name, f"tensors end at byte {start + end} of a file of {size}",
                      expected="equal", remedy="download or convert it again")
  return [Tensor(name, dtype, shape, _loader(path, name, dtype, shape, start + first))
          for name, dtype, shape, first, _ in entries]


def read_folder(folder) -> List[Tensor]:
  """Reads the weights of a folder: the shards that its index names, or model.safetensors."""
  folder = Path(folder)
  index = folder / INDEX_NAME
  if not index.is_file():
    return read_file(folder / SINGLE_NAME)
  weight_map = read_weight_map(index)
  tensors = []
  for shard in sorted(set(weight_map.values())):
    for tensor in read_file(folder / shard):
      if weight_map.get(tensor.name) != shard:
        raise ExportError(shard, f"holds {tensor.name}",
                          expected=f"{weight_map.get(tensor.name)} by {INDEX_NAME}")
      tensors.append(tensor)
  missing = sorted(set(weight_map) - {tensor.name for tensor in tensors})
  if missing:
    raise ExportError(INDEX_NAME, f"{missing[0]} is in no shard",
                      expected=f"in {weight_map[missing[0]]}", remedy="download the shards again")
  return tensors


def read_weight_map(index):
  """Reads the `weight_map` of a shard index; every value is a plain file name beside it."""
  weight_map = parse_object(index.read_bytes(), index.name).get("weight_map")
  if not isinstance(weight_map, dict) or not weight_map:
    raise ExportError(index.name, "no weight_map", expected="tensor names to file names")
  for name, shard in weight_map.items():
    if not isinstance(shard, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", shard):
      raise ExportError(index.name, f"{name} is in {shard!r}", expected="a file of this folder")
    if not (index.parent / shard).is_file():
      raise ExportError(shard, "is not there", expected=f"a shard, by {index.name}",
                        remedy="download it")
  return weight_map


def write_file(file, tensors, metadata=None):
  """Writes one safetensors file, loading one tensor at a time.

  Args:
    file: binary file, at its start.
    tensors: list of Tensor with different names.
    metadata: string to string, or None.
  """
  # Wide types first, so that every tensor lies on a multiple of its element size.
  tensors = sorted(tensors, key=lambda t: (-NUMPY_TYPES[t.dtype].itemsize, t.name))
  header = {"__metadata__": metadata} if metadata else {}
  offset = 0
  for tensor in tensors:
    if tensor.name in header:
      raise ExportError(tensor.name, "occurs twice", expected="once")
    header[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape),
                           "data_offsets": [offset, offset + tensor.nbytes]}
    offset += tensor.nbytes
  text = json.dumps(header, separators=(",", ":")).encode()
  text += b" " * (-len(text) % 8)
  file.write(struct.pack("<Q", len(text)) + text)
  for tensor in tensors:
    values = np.asarray(tensor.load(), dtype=NUMPY_TYPES[tensor.dtype], order="C")
    if tuple(values.shape) != tensor.shape:
      raise ExportError(tensor.name, f"shape {list(values.shape)}", expected=list(tensor.shape))
    file.write(values.reshape(-1).view("u1"))


def _check_metadata(path, metadata):
  if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
    raise ExportError(path.name, "__metadata__ is not an object of strings")


def _is_count(value):
  return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _entry(path, name, value):
  """Checks one header entry and returns (name, dtype, shape, first, last)."""
  if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
    raise ExportError(path.name, f"entry of {name}", expected="dtype, shape and data_offsets")
  dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
  if not isinstance(dtype, str) or dtype not in NUMPY_TYPES:
    raise ExportError(path.name, f"{name} has type {dtype}", expected=", ".join(NUMPY_TYPES),
                      remedy="convert a checkpoint that is not quantized")
  if not isinstance(shape, list) or len(shape) > MAX_RANK or not all(map(_is_count, shape)):
    raise ExportError(path.name, f"{name} has shape {shape}", expected="a list of sizes")
  if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_count, offsets)):
    raise ExportError(path.name, f"{name} has data_offsets {offsets}", expected="begin and end")
  nbytes = NUMPY_TYPES[dtype].itemsize
  for size in shape:
    nbytes *= size
  if offsets[1] - offsets[0] != nbytes:
    raise ExportError(path.name, f"{name} has {offsets[1] - offsets[0]} bytes",
                      expected=f"{nbytes} for {dtype} {shape}")
  return name, dtype, tuple(shape), offsets[0], offsets[1]


def _loader(path, name, dtype, shape, position):
  def load():
    count = 1
    for size in shape:
      count *= size
    values = np.empty(count, dtype=NUMPY_TYPES[dtype])
    with open(path, "rb") as file:
      file.seek(position)
      got = file.readinto(values.view("u1"))
    if got != values.nbytes:
      raise ExportError(path.name, f"{name} ends early: {got} bytes", expected=values.nbytes,
                        remedy="the file changed while it was read")
    return values.reshape(shape)
  return load

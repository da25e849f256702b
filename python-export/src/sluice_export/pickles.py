"""Reads PyTorch's pickled checkpoints, weights only."""

import functools
import warnings
import zipfile
from pathlib import Path
from typing import List

import numpy as np

from sluice_export.errors import ExportError
from sluice_export.optional import require
from sluice_export.safetensors_io import read_weight_map
from sluice_export.tensor import Tensor

INDEX_NAME = "pytorch_model.bin.index.json"
SINGLE_NAME = "pytorch_model.bin"
SUFFIXES = (".bin", ".pt", ".pth")


def read_folder(folder) -> List[Tensor]:
  """Reads the shards that pytorch_model.bin.index.json names, or pytorch_model.bin."""
  folder = Path(folder)
  index = folder / INDEX_NAME
  if not index.is_file():
    return read_file(folder / SINGLE_NAME)
  weight_map = read_weight_map(index)
  tensors = {}
  for shard in sorted(set(weight_map.values())):
    for tensor in read_file(folder / shard):
      if weight_map.get(tensor.name) == shard:
        tensors[tensor.name] = tensor
  missing = sorted(set(weight_map) - set(tensors))
  if missing:
    raise ExportError(INDEX_NAME, f"{missing[0]} is in no shard",
                      expected=f"in {weight_map[missing[0]]}", remedy="download the shards again")
  return list(tensors.values())


def read_file(path) -> List[Tensor]:
  """Reads a pickle with torch's weights-only unpickler, which runs no code of the file.

  Raises:
    MissingDependencyError: torch is not installed.
    ExportError: not a pickle of tensors by name.
  """
  path = Path(path)
  torch = require("torch", f"reading the pickle {path.name}")
  if not path.is_file():
    raise ExportError(path, "is not there", remedy="download it")
  # Only the zip layout can be mapped, so that tensors are read when they are wanted.
  mapped = zipfile.is_zipfile(path)
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
  except Exception as error:  # torch raises many kinds for a bad file
    reason = str(error).split("\n")[0][:200]
    raise ExportError(path.name, f"cannot be read weights-only: {reason}",
                      expected="a PyTorch file of tensors alone",
                      remedy="save the model as safetensors where you trust the file") from error
  if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
    state = state["state_dict"]
  if not isinstance(state, dict) or not state:
    raise ExportError(path.name, f"holds a {type(state).__name__}", expected="tensors by name")
  return [_tensor(torch, path, name, value) for name, value in state.items()]


def _tensor(torch, path, name, value):
  types = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
           torch.float64: "F64", torch.int64: "I64", torch.int32: "I32", torch.int16: "I16",
           torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL"}
  if not isinstance(name, str) or not isinstance(value, torch.Tensor):
    raise ExportError(path.name, f"{name} is a {type(value).__name__}", expected="a tensor")
  if value.layout != torch.strided or value.dtype not in types:
    raise ExportError(path.name, f"{name} is {value.dtype}, {value.layout}",
                      expected="a dense tensor of a plain type",
                      remedy="convert a checkpoint that is not quantized")
  return Tensor(name, types[value.dtype], tuple(value.shape),
                functools.partial(_load, torch, value))


def _load(torch, value):
  value = value.detach().contiguous()
  if value.dtype == torch.bfloat16:
    return value.view(torch.int16).numpy().view(np.uint16)
  return value.numpy()

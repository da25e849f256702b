"""Hugging Face checkpoints: a folder, or one weight file with its config.json beside it."""

import json
import re
import shutil
from pathlib import Path

from sluice_export import model_config, pickles, safetensors_io, tokenizer
from sluice_export.errors import ExportError
from sluice_export.strict_json import read_object

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
          "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


class HfCheckpoint:
  """The parts of a Hugging Face checkpoint.

  Attributes:
    folder: where config.json lies.
    config: its object.
    tensors: list of Tensor.
  """

  def __init__(self, source):
    """Opens a folder or a weight file.

    Raises:
      ExportError: no config.json, no weights, or files against the rules of their formats.
    """
    source = Path(source)
    self.folder = source if source.is_dir() else source.parent
    config = self.folder / "config.json"
    if not config.is_file():
      raise ExportError(self.folder, "no config.json", expected="a Hugging Face checkpoint",
                        remedy="give the folder that holds config.json and the weights")
    self.config = read_object(config)
    self.tensors = _weights(source)
    if not self.tensors:
      raise ExportError(source, "holds no tensor", expected="the weights of a model")

  def eos_token_ids(self, first):
    """Returns `first` and after them the ids that generation_config.json adds."""
    path = self.folder / "generation_config.json"
    extra = model_config.token_ids(read_object(path), "eos_token_id") if path.is_file() else ()
    return tuple(dict.fromkeys((*first, *extra)))

  def copied_files(self):
    """Returns the files that go along with the weights unchanged."""
    names = (*tokenizer.FILES, "generation_config.json")
    return [self.folder / name for name in names if (self.folder / name).is_file()]


def _weights(source):
  if source.is_file():
    if source.suffix == ".safetensors":
      return safetensors_io.read_file(source)
    return pickles.read_file(source)
  if any((source / name).is_file()
         for name in (safetensors_io.INDEX_NAME, safetensors_io.SINGLE_NAME)):
    return safetensors_io.read_folder(source)
  if any((source / name).is_file() for name in (pickles.INDEX_NAME, pickles.SINGLE_NAME)):
    return pickles.read_folder(source)
  single = [path for path in sorted(source.iterdir()) if path.suffix in (".pt", ".pth")]
  if len(single) == 1:
    return pickles.read_file(single[0])
  raise ExportError(source, f"no weights ({len(single)} .pt files)",
                    expected="model.safetensors, pytorch_model.bin, their shards with an index, "
                             "or one .pt file")


def parse_size(text):
  """Returns the bytes of a size such as "500MB", "2GiB" or "1000000"."""
  found = re.fullmatch(r"(\d{1,15})(?:\s*)([A-Za-z]*)", text.strip())
  if not found or found[2].upper() not in _UNITS or int(found[1]) == 0:
    raise ExportError("--max-shard-size", text, expected="a size such as 500MB or 2GiB")
  return int(found[1]) * _UNITS[found[2].upper()]


def split_shards(tensors, max_bytes):
  """Deals tensors out, in order, to shards of at most `max_bytes`; a larger one has its own."""
  shards, filled = [[]], 0
  for tensor in tensors:
    if shards[-1] and filled + tensor.nbytes > max_bytes:
      shards.append([])
      filled = 0
    shards[-1].append(tensor)
    filled += tensor.nbytes
  return shards


def write(folder, config, tensors, max_shard_bytes, files=(), texts=None):
  """Writes a checkpoint into an existing empty folder.

  Args:
    folder: the folder.
    config: config.json's object.
    tensors: list of Tensor.
    max_shard_bytes: largest weight file.
    files: paths to copy.
    texts: file name to text, written as UTF-8.
  """
  folder = Path(folder)
  _write_json(folder / "config.json", config)
  for path in files:
    shutil.copyfile(path, folder / path.name)
  for name, text in (texts or {}).items():
    (folder / name).write_text(text, encoding="utf-8")
  shards = split_shards(tensors, max_shard_bytes)
  weight_map = {}
  for number, shard in enumerate(shards, 1):
    name = safetensors_io.SINGLE_NAME
    if len(shards) > 1:
      name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
    with open(folder / name, "wb") as file:
      # transformers refuses files that do not say what framework's conventions they follow.
      safetensors_io.write_file(file, shard, {"format": "pt"})
    weight_map.update((tensor.name, name) for tensor in shard)
  if len(shards) > 1:
    total = sum(tensor.nbytes for tensor in tensors)
    _write_json(folder / safetensors_io.INDEX_NAME, {
        "metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))})


def to_json(value):
  """Returns a JSON text as Hugging Face lays it out."""
  return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _write_json(path, value):
  path.write_text(to_json(value), encoding="utf-8")

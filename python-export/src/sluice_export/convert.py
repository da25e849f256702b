"""Conversion between Hugging Face checkpoints and GGUF files."""

import dataclasses
import itertools
import re
from collections import Counter
from pathlib import Path
from typing import List

from sluice_export import (gguf_config, gguf_writer, hf_folder, layout, model_config, pickles,
                           staging, tokenizer, tokenizer_rebuild)
from sluice_export import gguf_format as gguf
from sluice_export.dtypes import FLOAT_TYPES, LONG_NAME_OF, STORAGE_OF, storage_type
from sluice_export.errors import ExportError
from sluice_export.gguf_reader import GgufFile

DEFAULT_SHARD_SIZE = "5GB"

# Metadata about how a GGUF file was stored, which does not hold for what is written.
_STORAGE_KEYS = re.compile(r"general\.(quantization_version|alignment)|split\..*|"
                           r"quantize\..*")
# Matrices that llama.cpp wants in float32: routers of experts.
_ALWAYS_F32 = re.compile(r".*\.ffn_gate_inp\.weight")
# Stored in float32 on purpose, since a rounded bias moves tokens to other experts.
_KEPT_AS_STORED = re.compile(r".*\.e_score_correction_bias")


@dataclasses.dataclass
class Report:
  """What a conversion did.

  Attributes:
    tensors: number of tensors written.
    nbytes: bytes of their values.
    dtype: long name of the matrices' type.
    source_types: stored type to number of tensors.
    notes: one line each on what is not carried over, or carried over in another form.
  """

  tensors: int
  nbytes: int
  dtype: str
  source_types: Counter
  notes: List[str]


def convert(source, destination, dtype=None, max_shard_size=None, no_tokenizer=False, force=False,
            progress=None):
  """Converts a checkpoint.

  Args:
    source: a GGUF file, a Hugging Face folder, or a weight file beside its config.json.
    destination: a path ending in .gguf for a GGUF file, any other for a folder.
    dtype: "float32", "float16", "bfloat16", or None for the source's type (bfloat16 when the
      source is quantized).
    max_shard_size: largest weight file of a folder, such as "5GB"; None for 5GB.
    no_tokenizer: write a GGUF file without tokenizer, from a source that has none.
    force: replace an existing output.
    progress: called with (tensors read, tensors in all) after each tensor, or None.

  Returns:
    Report.

  Raises:
    ExportError: with the value, what was expected, and the remedy. Nothing is left behind.
    MissingDependencyError: the source is a pickle and torch is not installed.
  """
  source, destination = Path(source), Path(destination)
  storage = None if dtype is None else storage_type(dtype)
  to_gguf = destination.suffix == ".gguf"
  if to_gguf and max_shard_size is not None:
    raise ExportError("--max-shard-size", max_shard_size, expected="a folder as output")
  max_bytes = hf_folder.parse_size(max_shard_size or DEFAULT_SHARD_SIZE)
  if not source.exists():
    raise ExportError(source, "is not there", expected="a GGUF file or a checkpoint folder")
  staging.check_free(destination, force)
  if _is_gguf(source):
    if no_tokenizer:
      raise ExportError("--no-tokenizer", "given", expected="a Hugging Face folder as input")
    file = GgufFile(source)
    if to_gguf:
      return _gguf_to_gguf(file, destination, storage, force, progress)
    return _gguf_to_folder(file, destination, storage, max_bytes, force, progress)
  checkpoint = hf_folder.HfCheckpoint(source)
  if to_gguf:
    return _folder_to_gguf(checkpoint, destination, storage, no_tokenizer, force, progress)
  if no_tokenizer:
    raise ExportError("--no-tokenizer", "given", expected="a GGUF file as output")
  return _folder_to_folder(checkpoint, destination, storage, max_bytes, force, progress)


def _is_gguf(source):
  if source.is_dir():
    return False
  if source.suffix == ".safetensors" or source.suffix in pickles.SUFFIXES:
    return False
  with open(source, "rb") as file:
    if source.suffix == ".gguf" or file.read(4) == gguf.MAGIC:
      return True
  raise ExportError(source, "is of an unknown kind",
                    expected="a folder, .gguf, .safetensors, .bin, .pt or .pth")


def _gguf_to_gguf(file, destination, storage, force, progress):
  gguf_config.check_architecture(file)
  storage = storage or _usual_type(file.tensors(), [s.type for s in file.stored.values()])
  tensors = [_for_gguf(tensor, storage) for tensor in file.tensors()]
  file_type = {"general.file_type": gguf.uint32(gguf.FILE_TYPES[storage])}
  metadata = {key: value for key, value in {**file.metadata, **file_type}.items()
              if not _STORAGE_KEYS.fullmatch(key)}
  _write_gguf(destination, metadata, _counted(tensors, progress), force)
  return _report(tensors, storage, Counter(s.type for s in file.stored.values()), [])


def _gguf_to_folder(file, destination, storage, max_bytes, force, progress):
  model = gguf_config.from_gguf(file)
  storage = storage or _usual_type(file.tensors(), [s.type for s in file.stored.values()])
  pairs = layout.match(file.path.name, file.tensors(), layout.slots(model), "gguf_name",
                       ignored=(layout.ROPE_FREQS,))
  tensors = []
  for slot, tensor in pairs:
    if slot.rotary_heads is not None:
      tensor = tensor.mapped(layout.from_gguf_rows(slot.rotary_heads))
    tensors.append(tensor.renamed(slot.hf_name).as_dtype(storage))
  texts, reason = tokenizer_rebuild.to_files(file, model)
  notes = [] if reason is None else [f"no tokenizer written: {reason}"]
  config = model_config.to_config(model, LONG_NAME_OF[storage])
  with staging.staged_folder(destination, force) as stage:
    staging.check_space(destination, sum(tensor.nbytes for tensor in tensors))
    hf_folder.write(stage, config, _counted(tensors, progress), max_bytes,
                    texts={**texts, "generation_config.json": _generation_config(model)})
  return _report(tensors, storage, Counter(s.type for s in file.stored.values()), notes)


def _folder_to_gguf(checkpoint, destination, storage, no_tokenizer, force, progress):
  model = model_config.from_config(checkpoint.config)
  model = dataclasses.replace(model, eos_token_ids=checkpoint.eos_token_ids(model.eos_token_ids))
  tied = ("lm_head.weight",) if model.tie_word_embeddings else ()
  pairs = layout.match(checkpoint.folder.name, checkpoint.tensors, layout.slots(model), "hf_name",
                       ignored=tied)
  storage = storage or _usual_type(checkpoint.tensors, [t.dtype for t in checkpoint.tensors])
  metadata = gguf_config.to_metadata(model, checkpoint.folder.resolve().name)
  metadata["general.file_type"] = gguf.uint32(gguf.FILE_TYPES[storage])
  notes = []
  if no_tokenizer:
    metadata.update(tokenizer.no_tokenizer_metadata())
    notes.append("no tokenizer written, as asked")
  else:
    metadata.update(tokenizer.to_metadata(checkpoint.folder, model.vocab_size))
    eos = metadata.get("tokenizer.ggml.eos_token_id")
    if eos is not None and eos.value not in model.eos_token_ids:
      # A chat model's tokenizer may end turns with a token that config.json leaves out.
      model = dataclasses.replace(model, eos_token_ids=(*model.eos_token_ids, eos.value))
  ids, dropped = gguf_config.token_id_metadata(model)
  metadata.update(ids)
  if dropped:
    notes.append(f"GGUF has no place for more than three EOS ids; dropped {list(dropped)}")
  if model.sliding_window is not None:
    notes.append(f"llama.cpp knows no sliding window in its architecture llama: past "
                 f"{model.sliding_window} tokens it will differ from the model")
  tensors = gguf_config.extra_tensors(model)
  for slot, tensor in pairs:
    if slot.rotary_heads is not None:
      tensor = tensor.mapped(layout.to_gguf_rows(slot.rotary_heads))
    tensors.append(_for_gguf(tensor.renamed(slot.gguf_name), storage))
  _write_gguf(destination, metadata, _counted(tensors, progress), force)
  return _report(tensors, storage, Counter(t.dtype for t in checkpoint.tensors), notes)


def _folder_to_folder(checkpoint, destination, storage, max_bytes, force, progress):
  config = dict(checkpoint.config)
  if config.get("quantization_config"):
    raise ExportError("quantization_config", "present", expected="weights that are not quantized",
                      remedy="convert the original checkpoint")
  tensors, notes = [], []
  tied = config.get("tie_word_embeddings") is True
  for tensor in checkpoint.tensors:
    if tensor.dtype == "F8_E4M3":
      raise ExportError(tensor.name, "has type F8_E4M3", expected="weights that are not quantized",
                        remedy="convert the original checkpoint")
    if tied and tensor.name == "lm_head.weight":
      notes.append("lm_head.weight left out: the embedding is the head (tie_word_embeddings)")
      continue
    if storage and tensor.dtype in FLOAT_TYPES and not _KEPT_AS_STORED.fullmatch(tensor.name):
      tensor = tensor.as_dtype(storage)
    elif tensor.dtype == "F64":
      tensor = tensor.as_dtype("F32")  # no loader of config.json's types knows float64
    tensors.append(tensor)
  written = storage or _usual_type(tensors, [tensor.dtype for tensor in tensors])
  config["dtype" if "dtype" in config else "torch_dtype"] = LONG_NAME_OF[written]
  with staging.staged_folder(destination, force) as stage:
    staging.check_space(destination, sum(tensor.nbytes for tensor in tensors))
    hf_folder.write(stage, config, _counted(tensors, progress), max_bytes,
                    files=checkpoint.copied_files())
  return _report(tensors, written, Counter(t.dtype for t in checkpoint.tensors), notes)


def _counted(tensors, progress):
  """Returns the tensors with `progress` called after each one is loaded."""
  if progress is None:
    return tensors
  done = itertools.count(1)

  def loaded(values):
    progress(next(done), len(tensors))
    return values
  return [tensor.mapped(loaded) for tensor in tensors]


def _usual_type(tensors, stored_types):
  """Returns the plain type that most bytes have; F32 for double, BF16 for quantized weights."""
  weight = Counter()
  for tensor, stored in zip(tensors, stored_types):
    weight[stored] += tensor.nbytes
  usual = weight.most_common(1)[0][0]
  if usual == "F64":
    return "F32"
  return usual if usual in STORAGE_OF.values() else "BF16"


def _for_gguf(tensor, storage):
  """Norms and biases stay float32 in GGUF: llama.cpp adds and multiplies by them in float32."""
  matrix = len(tensor.shape) > 1 and not _ALWAYS_F32.fullmatch(tensor.name)
  return tensor.as_dtype(storage if matrix else "F32")


def _write_gguf(destination, metadata, tensors, force):
  staging.check_space(destination, gguf_writer.file_size(metadata, tensors))
  with staging.staged_file(destination, force) as file:
    gguf_writer.write(file, metadata, tensors)


def _generation_config(model):
  eos = list(model.eos_token_ids)
  return hf_folder.to_json({
      "_from_model_config": True,
      "bos_token_id": model.bos_token_id,
      "eos_token_id": eos[0] if len(eos) == 1 else (eos or None),
      "pad_token_id": model.pad_token_id,
  })


def _report(tensors, storage, source_types, notes):
  return Report(len(tensors), sum(tensor.nbytes for tensor in tensors), LONG_NAME_OF[storage],
                source_types, notes)

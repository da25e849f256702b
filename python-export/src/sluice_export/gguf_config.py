"""ModelConfig in GGUF's metadata."""

import numpy as np

from sluice_export import gguf_format as gguf
from sluice_export import rope
from sluice_export.errors import ExportError
from sluice_export.layout import ROPE_FREQS
from sluice_export.model_config import ModelConfig
from sluice_export.tensor import from_array

_ARCHITECTURE_OF = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
ARCHITECTURES = tuple(sorted(set(_ARCHITECTURE_OF.values())))

# Keys below the architecture's prefix that are read here. Any other key is refused by name, since
# it may change the arithmetic.
_KNOWN = {
    "block_count", "context_length", "embedding_length", "feed_forward_length", "vocab_size",
    "tensor_data_layout", "attention.head_count", "attention.head_count_kv", "attention.key_length",
    "attention.value_length", "attention.layer_norm_rms_epsilon", "attention.sliding_window",
    "rope.freq_base", "rope.dimension_count", "rope.scaling.type", "rope.scaling.factor",
    "rope.scaling.original_context_length", "rope.scaling.finetuned", "rope.scale_linear",
}
_NEUTRAL = {"expert_count": 0, "expert_used_count": 0, "attention.causal": True, "pooling_type": 0,
            "logit_scale": 1.0, "use_parallel_residual": False,
            "rope.scaling.attn_factor": 1.0}


def to_metadata(model, name):
  """Returns the metadata of a ModelConfig, without the tokenizer and general.file_type.

  Args:
    model: ModelConfig.
    name: the model's name.

  Raises:
    ExportError: GGUF or llama.cpp cannot express the model.
  """
  scaling = model.rope_scaling
  if scaling is not None and scaling.type == "dynamic":
    raise ExportError("rope_type", "dynamic", expected="default, linear, llama3 or yarn for GGUF",
                      remedy="convert to a Hugging Face folder instead")
  if model.num_q_heads * model.head_dim % 2:
    raise ExportError("head_dim", model.head_dim, expected="an even number")
  architecture = _ARCHITECTURE_OF[model.family]
  metadata = {
      "general.architecture": gguf.string(architecture),
      "general.type": gguf.string("model"),
      "general.name": gguf.string(name),
  }
  fields = {
      "vocab_size": gguf.uint32(model.vocab_size),
      "context_length": gguf.uint32(model.max_position_embeddings),
      "embedding_length": gguf.uint32(model.hidden_size),
      "block_count": gguf.uint32(model.num_layers),
      "feed_forward_length": gguf.uint32(model.intermediate_size),
      "attention.head_count": gguf.uint32(model.num_q_heads),
      "attention.head_count_kv": gguf.uint32(model.num_kv_heads),
      "attention.key_length": gguf.uint32(model.head_dim),
      "attention.value_length": gguf.uint32(model.head_dim),
      "attention.layer_norm_rms_epsilon": gguf.float32(model.rms_norm_eps),
      "rope.freq_base": gguf.float32(model.rope_theta),
      "rope.dimension_count": gguf.uint32(model.head_dim),
  }
  if model.sliding_window is not None:
    fields["attention.sliding_window"] = gguf.uint32(model.sliding_window)
  if scaling is not None and scaling.type in ("linear", "yarn"):
    fields["rope.scaling.type"] = gguf.string(scaling.type)
    fields["rope.scaling.factor"] = gguf.float32(scaling.factor)
    if scaling.original_context is not None:
      fields["rope.scaling.original_context_length"] = gguf.uint32(scaling.original_context)
  for key, value in fields.items():
    metadata[f"{architecture}.{key}"] = value
  return metadata


def token_id_metadata(model):
  """Returns the metadata of the special token ids, and the EOS ids that found no key.

  GGUF has one key each for the end of a text, of a turn and of a message; llama.cpp ends at any.
  """
  metadata = {}
  if model.bos_token_id is not None:
    metadata["tokenizer.ggml.bos_token_id"] = gguf.uint32(model.bos_token_id)
  for key, token in zip(("eos", "eot", "eom"), model.eos_token_ids):
    metadata[f"tokenizer.ggml.{key}_token_id"] = gguf.uint32(token)
  if model.pad_token_id is not None:
    metadata["tokenizer.ggml.padding_token_id"] = gguf.uint32(model.pad_token_id)
  return metadata, model.eos_token_ids[3:]


def extra_tensors(model):
  """Returns the tensors that GGUF has beside the model's weights: llama3's frequency divisors."""
  if model.rope_scaling is None or model.rope_scaling.type != "llama3":
    return []
  divisors = rope.llama3_divisors(model.rope_theta, model.head_dim, model.rope_scaling)
  return [from_array(ROPE_FREQS, "F32", divisors)]


def check_architecture(file):
  """Returns general.architecture; ExportError if it is not one of ARCHITECTURES."""
  architecture = file.require("general.architecture")
  if architecture not in ARCHITECTURES:
    raise ExportError(file.path.name, f"general.architecture is {architecture}",
                      expected=", ".join(ARCHITECTURES))
  if file.get("split.count", 0) > 1:
    raise ExportError(file.path.name, f"part of {file.get('split.count')} files",
                      expected="a single GGUF file", remedy="merge it: llama-gguf-split --merge")
  return architecture


def from_gguf(file):
  """Reads the ModelConfig of a GgufFile.

  Raises:
    ExportError: another architecture, a missing or impossible value, or an unknown key.
  """
  architecture = check_architecture(file)
  prefix = architecture + "."
  for key, value in file.metadata.items():
    short = key[len(prefix):]
    if not key.startswith(prefix) or short in _KNOWN:
      continue
    if short not in _NEUTRAL or value.value != _NEUTRAL[short]:
      raise ExportError(file.path.name, f"{key} is {value.value}",
                        expected=_NEUTRAL.get(short, "a key that this package knows"))
  reader = _Reader(file, prefix)
  embedding = file.stored.get("token_embd.weight")
  if embedding is None:
    raise ExportError(file.path.name, "tensor token_embd.weight is missing")
  heads = reader.count("attention.head_count")
  hidden = reader.count("embedding_length")
  head_dim = reader.count("attention.key_length", hidden // heads)
  for key in ("attention.value_length", "rope.dimension_count"):
    if reader.count(key, head_dim) != head_dim:
      raise ExportError(prefix + key, reader.count(key, head_dim), expected=head_dim)
  window = reader.get("attention.sliding_window") or None
  if window is not None and architecture != "llama":
    raise ExportError(prefix + "attention.sliding_window", window, expected="absent")
  theta = reader.number("rope.freq_base", 10000.0)
  family = "mistral" if window is not None else architecture
  biased = any(name.startswith("blk.0.attn_") and name.endswith(".bias") for name in file.stored)
  return ModelConfig(
      family=family,
      vocab_size=embedding.shape[0],
      hidden_size=hidden,
      intermediate_size=reader.count("feed_forward_length"),
      num_layers=reader.count("block_count"),
      num_q_heads=heads,
      num_kv_heads=reader.count("attention.head_count_kv", heads),
      head_dim=head_dim,
      rms_norm_eps=reader.number("attention.layer_norm_rms_epsilon"),
      rope_theta=theta,
      rope_scaling=_rope_scaling(file, reader, theta, head_dim),
      max_position_embeddings=reader.count("context_length"),
      sliding_window=window,
      attention_bias="qkv" if family == "qwen2" else (
          "qkvo" if biased and family != "mistral" else ""),
      mlp_bias="blk.0.ffn_gate.bias" in file.stored and family == "llama",
      tie_word_embeddings="output.weight" not in file.stored,
      bos_token_id=reader.token_id("bos"),
      eos_token_ids=_eos(reader),
      pad_token_id=reader.token_id("padding"),
  )


class _Reader:
  """Typed access to a GGUF file's metadata."""

  def __init__(self, file, prefix):
    self.file = file
    self.prefix = prefix

  def get(self, key):
    return self.file.get(self.prefix + key)

  def count(self, key, default=None):
    value = self.get(key)
    if value is None and default is not None:
      return default
    if value is None:
      value = self.file.require(self.prefix + key)
    if isinstance(value, np.ndarray) and value.size and (value == value[0]).all():
      value = int(value[0])
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 1 << 31:
      raise ExportError(self.file.path.name, f"{self.prefix}{key} is {value}",
                        expected="a whole number from 1 to 2^31 - 1")
    return value

  def number(self, key, default=None):
    value = self.get(key)
    if value is None and default is not None:
      return default
    if value is None:
      value = self.file.require(self.prefix + key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e30:
      raise ExportError(self.file.path.name, f"{self.prefix}{key} is {value}",
                        expected="a positive number")
    # The shortest decimal that gives the stored float32: 1e-05, not 9.999999747378752e-06.
    return float(str(np.float32(value)))

  def token_id(self, name):
    value = self.file.get(f"tokenizer.ggml.{name}_token_id")
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
      raise ExportError(self.file.path.name, f"tokenizer.ggml.{name}_token_id is {value}",
                        expected="a token id")
    return value


def _eos(reader):
  ids = (reader.token_id(name) for name in ("eos", "eot", "eom"))
  return tuple(dict.fromkeys(token for token in ids if token is not None))


def _rope_scaling(file, reader, theta, head_dim):
  kind = reader.get("rope.scaling.type")
  factor = reader.get("rope.scaling.factor") or reader.get("rope.scale_linear")
  scaling = None
  if kind not in (None, "none", "linear", "yarn"):
    raise ExportError(reader.prefix + "rope.scaling.type", kind, expected="none, linear or yarn")
  if kind == "yarn":
    scaling = rope.RopeScaling("yarn", reader.number("rope.scaling.factor"),
                               reader.count("rope.scaling.original_context_length"))
  elif kind != "none" and factor not in (None, 0, 1):
    key = "rope.scaling.factor" if reader.get("rope.scaling.factor") else "rope.scale_linear"
    scaling = rope.RopeScaling("linear", reader.number(key))
  if ROPE_FREQS not in file.stored:
    return scaling
  if scaling is not None:
    raise ExportError(file.path.name, f"{ROPE_FREQS} beside rope scaling {scaling.type}",
                      expected="one of the two")
  divisors = next(t for t in file.tensors() if t.name == ROPE_FREQS).as_dtype("F32").load()
  if divisors.shape != (head_dim // 2,):
    raise ExportError(file.path.name, f"{ROPE_FREQS} has shape {list(divisors.shape)}",
                      expected=[head_dim // 2])
  if (divisors == 1).all():
    return None
  return rope.llama3_from_divisors(theta, divisors)

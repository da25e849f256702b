"""ModelConfig in GGUF's metadata."""

from sluice_export import gguf_format as gguf
from sluice_export import rope
from sluice_export.errors import ExportError
from sluice_export.layout import ROPE_FREQS
from sluice_export.model_config import ModelConfig, check_layers
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

  Args:
    model: ModelConfig.
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
  architecture = file.text("general.architecture")
  if architecture not in ARCHITECTURES:
    raise ExportError(file.path.name, f"general.architecture is {architecture}",
                      expected=", ".join(ARCHITECTURES))
  parts = file.metadata.get("split.count", gguf.uint32(1)).value
  if not isinstance(parts, int) or parts > 1:
    raise ExportError(file.path.name, f"part of {parts} files",
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
    if (short not in _NEUTRAL or value.type == gguf.ARRAY
        or value.value != _NEUTRAL[short]):
      raise ExportError(file.path.name, f"{key} is {str(value.value)[:60]}",
                        expected=_NEUTRAL.get(short, "a key that this package knows"))
  embedding = file.stored.get("token_embd.weight")
  if embedding is None or len(embedding.shape) != 2:
    raise ExportError(file.path.name, "no tensor token_embd.weight of two dimensions",
                      expected="the token embedding")
  heads = file.count(prefix + "attention.head_count")
  hidden = file.count(prefix + "embedding_length")
  head_dim = file.count(prefix + "attention.key_length", hidden // heads)
  for key in ("attention.value_length", "rope.dimension_count"):
    if file.count(prefix + key, head_dim) != head_dim:
      raise ExportError(prefix + key, file.count(prefix + key, head_dim), expected=head_dim)
  window = None
  if prefix + "attention.sliding_window" in file.metadata:
    window = file.count(prefix + "attention.sliding_window")
  if window is not None and architecture != "llama":
    raise ExportError(prefix + "attention.sliding_window", window, expected="absent")
  theta = file.number(prefix + "rope.freq_base", 10000.0)
  family = "mistral" if window is not None else architecture
  biased = any(name.startswith("blk.0.attn_") and name.endswith(".bias") for name in file.stored)
  return ModelConfig(
      family=family,
      vocab_size=embedding.shape[0],
      hidden_size=hidden,
      intermediate_size=file.count(prefix + "feed_forward_length"),
      num_layers=check_layers(file.count(prefix + "block_count")),
      num_q_heads=heads,
      num_kv_heads=file.count(prefix + "attention.head_count_kv", heads),
      head_dim=head_dim,
      rms_norm_eps=file.number(prefix + "attention.layer_norm_rms_epsilon"),
      rope_theta=theta,
      rope_scaling=_rope_scaling(file, prefix, theta, head_dim),
      max_position_embeddings=file.count(prefix + "context_length"),
      sliding_window=window,
      attention_bias="qkv" if family == "qwen2" else (
          "qkvo" if biased and family != "mistral" else ""),
      mlp_bias="blk.0.ffn_gate.bias" in file.stored and family == "llama",
      tie_word_embeddings="output.weight" not in file.stored,
      bos_token_id=file.token_id("bos"),
      eos_token_ids=_eos(file),
      pad_token_id=file.token_id("padding"),
  )


def _eos(file):
  ids = (file.token_id(name) for name in ("eos", "eot", "eom"))
  return tuple(dict.fromkeys(token for token in ids if token is not None))


def _rope_scaling(file, prefix, theta, head_dim):
  kind = file.text(prefix + "rope.scaling.type")
  if kind not in (None, "none", "linear", "yarn"):
    raise ExportError(prefix + "rope.scaling.type", kind, expected="none, linear or yarn")
  factor = 1.0
  for key in (prefix + "rope.scaling.factor", prefix + "rope.scale_linear"):
    # llama.cpp takes a factor of 0 for 1.
    if key in file.metadata and file.metadata[key].value != 0:
      factor = file.number(key)
      break
  scaling = None
  if kind == "yarn":
    scaling = rope.RopeScaling("yarn", factor,
                               file.count(prefix + "rope.scaling.original_context_length"))
  elif kind != "none" and factor != 1.0:
    scaling = rope.RopeScaling("linear", factor)
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

"""What a dense decoder is, read from config.json and written back to it."""

from dataclasses import dataclass
from typing import Optional, Tuple

from sluice_export import rope
from sluice_export.errors import ExportError

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")

MAX_LAYERS = 10_000

_ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}

# Keys that change the arithmetic only by values other than these.
_NEUTRAL = {
    "hidden_act": ("silu", "swish"),
    "rope_interleaved": (False,),
    "partial_rotary_factor": (1.0, 1),
    "is_decoder": (True, False),
    "add_cross_attention": (False,),
    "tie_encoder_decoder": (False,),
    "is_encoder_decoder": (False,),
    "is_causal": (True,),
    "num_experts": (0,),
    "num_local_experts": (0,),
    "no_rope_layers": ([],),
    "alibi": (False,),
    "use_qk_norm": (False,),
    "logits_soft_cap": (0,),
}


@dataclass(frozen=True)
class ModelConfig:
  """The settings of a dense decoder that change its arithmetic, and its special token ids.

  Attributes:
    family: one of FAMILIES.
    sliding_window: keys that a query sees, itself included; None for all.
    attention_bias: biases of q, k and v ("qkv"), also of o ("qkvo"), or none ("").
    rope_scaling: rope.RopeScaling or None.
    eos_token_ids: every id that ends a text, the main one first.
  """

  family: str
  vocab_size: int
  hidden_size: int
  intermediate_size: int
  num_layers: int
  num_q_heads: int
  num_kv_heads: int
  head_dim: int
  rms_norm_eps: float
  rope_theta: float
  rope_scaling: Optional[rope.RopeScaling]
  max_position_embeddings: int
  sliding_window: Optional[int]
  attention_bias: str
  mlp_bias: bool
  tie_word_embeddings: bool
  bos_token_id: Optional[int]
  eos_token_ids: Tuple[int, ...]
  pad_token_id: Optional[int]

  @property
  def has_qk_norm(self):
    """Whether each head of q and k has an RMSNorm."""
    return self.family == "qwen3"


def from_config(config):
  """Reads config.json, old or new spelling, with the family's defaults for what it leaves out.

  Raises:
    ExportError: another family, a missing or impossible value, or a key that changes the arithmetic
      in a way that this package does not know.
  """
  family = config.get("model_type")
  if family not in FAMILIES:
    raise ExportError("model_type", family, expected=", ".join(FAMILIES))
  if config.get("quantization_config"):
    raise ExportError("quantization_config", "present", expected="weights that are not quantized",
                      remedy="convert the original checkpoint")
  for key, values in _NEUTRAL.items():
    if config.get(key) is not None and config[key] not in values:
      raise ExportError(key, config[key], expected=values[0])
  heads = _count(config, "num_attention_heads")
  hidden = _count(config, "hidden_size")
  kv_heads = _count(config, "num_key_value_heads",
                    {"llama": heads, "mistral": 8}.get(family, 32))
  if heads % kv_heads:
    raise ExportError("num_key_value_heads", kv_heads, expected=f"a divisor of {heads}")
  head_dim = _count(config, "head_dim", 128 if family == "qwen3" else hidden // heads)
  theta, scaling = rope.from_config(config)
  return ModelConfig(
      family=family,
      vocab_size=_count(config, "vocab_size"),
      hidden_size=hidden,
      intermediate_size=_count(config, "intermediate_size"),
      num_layers=check_layers(_count(config, "num_hidden_layers")),
      num_q_heads=heads,
      num_kv_heads=kv_heads,
      head_dim=head_dim,
      rms_norm_eps=_number(config, "rms_norm_eps", 1e-6),
      rope_theta=10000.0 if theta is None else theta,
      rope_scaling=scaling,
      max_position_embeddings=_count(
          config, "max_position_embeddings",
          {"llama": 2048, "mistral": 131072}.get(family, 32768)),
      sliding_window=_sliding_window(config, family),
      attention_bias=_attention_bias(config, family),
      mlp_bias=_flag(config, "mlp_bias", False) if family == "llama" else False,
      tie_word_embeddings=_flag(config, "tie_word_embeddings", False),
      bos_token_id=_token_id(config, "bos_token_id"),
      eos_token_ids=token_ids(config, "eos_token_id"),
      pad_token_id=_token_id(config, "pad_token_id"),
  )


def to_config(model, dtype):
  """Returns config.json's object in the old spelling, which every version of transformers reads.

  Args:
    model: ModelConfig.
    dtype: long name of the weights' type, such as "bfloat16".
  """
  eos = list(model.eos_token_ids)
  config = {
      "architectures": [_ARCHITECTURES[model.family]],
      "attention_dropout": 0.0,
      "bos_token_id": model.bos_token_id,
      "eos_token_id": eos[0] if len(eos) == 1 else (eos or None),
      "head_dim": model.head_dim,
      "hidden_act": "silu",
      "hidden_size": model.hidden_size,
      "initializer_range": 0.02,
      "intermediate_size": model.intermediate_size,
      "max_position_embeddings": model.max_position_embeddings,
      "model_type": model.family,
      "num_attention_heads": model.num_q_heads,
      "num_hidden_layers": model.num_layers,
      "num_key_value_heads": model.num_kv_heads,
      "pad_token_id": model.pad_token_id,
      "rms_norm_eps": model.rms_norm_eps,
      "rope_scaling": rope.to_config(model.rope_scaling),
      "rope_theta": model.rope_theta,
      "tie_word_embeddings": model.tie_word_embeddings,
      "torch_dtype": dtype,
      "use_cache": True,
      "vocab_size": model.vocab_size,
  }
  if model.family == "llama":
    config["attention_bias"] = model.attention_bias == "qkvo"
    config["mlp_bias"] = model.mlp_bias
  elif model.family == "mistral":
    config["sliding_window"] = model.sliding_window
  elif model.family == "qwen2":
    config["use_sliding_window"] = False
  else:
    config["attention_bias"] = model.attention_bias == "qkvo"
    config["use_sliding_window"] = False
  return config


def _sliding_window(config, family):
  if family == "mistral":
    window = config.get("sliding_window", 4096)
    return None if window is None else _whole("sliding_window", window)
  if family in ("qwen2", "qwen3") and _flag(config, "use_sliding_window", False):
    raise ExportError("use_sliding_window", True, expected="false",
                      remedy=f"{family} with windows in some layers is not supported")
  layer_types = config.get("layer_types") or []
  if not isinstance(layer_types, list) or any(kind != "full_attention" for kind in layer_types):
    raise ExportError("layer_types", str(layer_types)[:60], expected="full_attention")
  return None


def _attention_bias(config, family):
  if family == "qwen2":
    return "qkv"
  if family == "mistral":
    return ""
  return "qkvo" if _flag(config, "attention_bias", False) else ""


def _whole(key, value):
  if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 1 << 31:
    raise ExportError(key, value, expected="a whole number from 1 to 2^31 - 1")
  return value


def check_layers(count):
  """Bounds the layers, so that a wrong number is refused before names are made for them."""
  if count > MAX_LAYERS:
    raise ExportError("num_hidden_layers", count, expected=f"at most {MAX_LAYERS}")
  return count


def _count(config, key, default=None):
  value = config.get(key)
  return _whole(key, default if value is None else value)


def _number(config, key, default):
  value = config.get(key, default)
  if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
    raise ExportError(key, value, expected="between 0 and 1")
  return float(value)


def _flag(config, key, default):
  value = config.get(key, default)
  if value is None:
    return default
  if not isinstance(value, bool):
    raise ExportError(key, value, expected="true or false")
  return value


def _token_id(config, key):
  value = config.get(key)
  if value is None:
    return None
  if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
    raise ExportError(key, value, expected="a token id")
  return value


def token_ids(config, key):
  """Returns the token ids under a key that holds one, a list of them, or null."""
  value = config.get(key)
  values = value if isinstance(value, list) else [value]
  return tuple(_token_id({key: item}, key) for item in values if item is not None)

"""Configurations of published models cut to two layers, and random weights for them.

Hidden sizes, heads, latents, experts and their widths are the published ones; layers are two and
the vocabulary is small, since neither chooses a kernel. `tiny` keeps the structure and divides the
sizes, for machines without a GPU.
"""

import copy
from dataclasses import dataclass
from typing import Callable, Dict, Tuple

VOCABULARY = 4096
TINY_VOCABULARY = 256
MAX_POSITIONS = 8192

# Logits of attention spread so far that a query of a long prompt attends to some tens of keys.
_SPREAD = 2.2


@dataclass(frozen=True)
class Weight:
  """One tensor of a checkpoint: normal values.

  Attributes:
    name: name in the checkpoint.
    shape: sizes.
    std: standard deviation.
    mean: mean.
    dtype: "BF16" or "F32".
  """

  name: str
  shape: Tuple[int, ...]
  std: float
  mean: float = 0.0
  dtype: str = "BF16"


@dataclass(frozen=True)
class Shape:
  """A model at its real sizes.

  Attributes:
    config: config.json.
    tiny: changes of config.json for small machines.
    weights: config to list of Weight.
    cut: what is smaller than published, beside layers and vocabulary.
  """

  config: Dict
  tiny: Dict
  weights: Callable
  cut: str = ""

  def settings(self, scale="real"):
    """Returns config.json's object."""
    settings = copy.deepcopy(self.config)
    settings["vocab_size"] = VOCABULARY
    if scale == "tiny":
      settings.update(self.tiny, vocab_size=TINY_VOCABULARY)
    return settings


def _matrix(name, rows, cols, gain=1.0):
  return Weight(name, (rows, cols), gain * cols**-0.5)


def _norm(name, size, mean=1.0):
  return Weight(name, (size,), 0.1, mean)


def _ends(c):
  size = c["hidden_size"]
  return [Weight("model.embed_tokens.weight", (c["vocab_size"], size), 1.0),
          _norm("model.norm.weight", size),
          _matrix("lm_head.weight", c["vocab_size"], size)]


def _norms(c, layer):
  prefix = f"model.layers.{layer}."
  return [_norm(prefix + "input_layernorm.weight", c["hidden_size"]),
          _norm(prefix + "post_attention_layernorm.weight", c["hidden_size"])]


def _gated(prefix, size, inner):
  return [_matrix(prefix + "gate_proj.weight", inner, size, 1.5),
          _matrix(prefix + "up_proj.weight", inner, size),
          _matrix(prefix + "down_proj.weight", size, inner, 1.5)]


def _grouped_attention(c, layer, bias=False, sinks=False, norms=False):
  prefix, size = f"model.layers.{layer}.self_attn.", c["hidden_size"]
  heads, kv = c["num_attention_heads"], c["num_key_value_heads"]
  dim = c.get("head_dim") or size // heads
  gain = 1.0 if norms else _SPREAD**0.5
  result = [_matrix(prefix + "q_proj.weight", heads * dim, size, gain),
            _matrix(prefix + "k_proj.weight", kv * dim, size, gain),
            _matrix(prefix + "v_proj.weight", kv * dim, size),
            _matrix(prefix + "o_proj.weight", size, heads * dim, 3.0)]
  if norms:
    result += [_norm(prefix + "q_norm.weight", dim, _SPREAD**0.5),
               _norm(prefix + "k_norm.weight", dim, _SPREAD**0.5)]
  if bias:
    result += [Weight(f"{prefix}{kind}_proj.bias", (count,), 0.1)
               for kind, count in (("q", heads * dim), ("k", kv * dim), ("v", kv * dim),
                                   ("o", size))]
  if sinks:
    result.append(Weight(prefix + "sinks", (heads,), 1.0, 2.0))
  return result


def _latent_attention(c, layer, spread):
  prefix, size = f"model.layers.{layer}.self_attn.", c["hidden_size"]
  heads, rank, turned = c["num_attention_heads"], c["kv_lora_rank"], c["qk_rope_head_dim"]
  plain, value = c["qk_nope_head_dim"], c["v_head_dim"]
  # Latents are normed, so their part of a key has a spread of one; the rotary part likewise.
  result = [_matrix(prefix + "kv_a_proj_with_mqa.weight", rank + turned, size),
            _norm(prefix + "kv_a_layernorm.weight", rank),
            _matrix(prefix + "kv_b_proj.weight", heads * (plain + value), rank),
            _matrix(prefix + "o_proj.weight", size, heads * value, 3.0)]
  queries = heads * (plain + turned)
  if c.get("q_lora_rank"):
    result += [_matrix(prefix + "q_a_proj.weight", c["q_lora_rank"], size),
               _norm(prefix + "q_a_layernorm.weight", c["q_lora_rank"]),
               _matrix(prefix + "q_b_proj.weight", queries, c["q_lora_rank"], spread)]
  else:
    result.append(_matrix(prefix + "q_proj.weight", queries, size, spread))
  return result


def _llama(c):
  result = _ends(c)
  for layer in range(c["num_hidden_layers"]):
    result += _norms(c, layer) + _grouped_attention(c, layer)
    result += _gated(f"model.layers.{layer}.mlp.", c["hidden_size"], c["intermediate_size"])
  return result


def _mixtral(c):
  result = _ends(c)
  size, inner = c["hidden_size"], c["intermediate_size"]
  for layer in range(c["num_hidden_layers"]):
    prefix = f"model.layers.{layer}.block_sparse_moe."
    result += _norms(c, layer) + _grouped_attention(c, layer)
    result.append(_matrix(prefix + "gate.weight", c["num_local_experts"], size, 2.0))
    for expert in range(c["num_local_experts"]):
      for name, rows, cols in (("w1", inner, size), ("w3", inner, size), ("w2", size, inner)):
        result.append(_matrix(f"{prefix}experts.{expert}.{name}.weight", rows, cols, 1.5))
  return result


def _qwen3_moe(c):
  result = _ends(c)
  for layer in range(c["num_hidden_layers"]):
    prefix = f"model.layers.{layer}.mlp."
    result += _norms(c, layer) + _grouped_attention(c, layer, norms=True)
    result.append(_matrix(prefix + "gate.weight", c["num_experts"], c["hidden_size"], 2.0))
    for expert in range(c["num_experts"]):
      result += _gated(f"{prefix}experts.{expert}.", c["hidden_size"], c["moe_intermediate_size"])
  return result


def _gpt_oss(c):
  result = _ends(c)
  size, inner, experts = c["hidden_size"], c["intermediate_size"], c["num_local_experts"]
  for layer in range(c["num_hidden_layers"]):
    prefix = f"model.layers.{layer}.mlp."
    result += _norms(c, layer) + _grouped_attention(c, layer, bias=True, sinks=True)
    result += [_matrix(prefix + "router.weight", experts, size, 2.0),
               Weight(prefix + "router.bias", (experts,), 0.1),
               # Stored [experts, inputs, outputs].
               Weight(prefix + "experts.gate_up_proj", (experts, size, 2 * inner), size**-0.5),
               Weight(prefix + "experts.gate_up_proj_bias", (experts, 2 * inner), 0.1),
               Weight(prefix + "experts.down_proj", (experts, inner, size), inner**-0.5),
               Weight(prefix + "experts.down_proj_bias", (experts, size), 0.1)]
  return result


def _deepseek(c):
  result = _ends(c)
  size, inner = c["hidden_size"], c["moe_intermediate_size"]
  sigmoid = c["scoring_func"] == "sigmoid"
  # YaRN multiplies the scale of attention by the square of its magnitude.
  spread = 1.2 if sigmoid else 1.4
  for layer in range(c["num_hidden_layers"]):
    prefix = f"model.layers.{layer}.mlp."
    result += _norms(c, layer) + _latent_attention(c, layer, spread)
    if layer < c["first_k_dense_replace"]:
      result += _gated(prefix, size, c["intermediate_size"])
      continue
    result.append(_matrix(prefix + "gate.weight", c["n_routed_experts"], size, 2.0))
    if sigmoid:
      result.append(Weight(prefix + "gate.e_score_correction_bias", (c["n_routed_experts"],), 0.05,
                           dtype="F32"))
    for expert in range(c["n_routed_experts"]):
      result += _gated(f"{prefix}experts.{expert}.", size, inner)
    result += _gated(prefix + "shared_experts.", size, c["n_shared_experts"] * inner)
  return result


def _adaptive(c):
  size, heads = c["hidden_size"], c["num_attention_heads"]
  inner, experts, router = c["moe_intermediate_size"], c["moe_num_experts"], c["router_hidden_size"]
  result = [Weight("embed_tokens.weight", (c["vocab_size"], size), 1.0),
            _matrix("heads.generation.weight", c["vocab_size"], size)]
  for layer, kind in enumerate(c["attention_types"]):
    prefix = f"layers.{layer}."
    result += [_norm(prefix + "norm1.weight", size), _norm(prefix + "norm2.weight", size),
               _matrix(prefix + "attention.to_qkv.weight", 3 * size, size, _SPREAD**0.5),
               Weight(prefix + "attention.to_qkv.bias", (3 * size,), 0.1),
               _matrix(prefix + "attention.to_out.weight", size, size, 2.0),
               Weight(prefix + "attention.to_out.bias", (size,), 0.1),
               Weight(prefix + "attention.relative_position", (heads, c["relative_positions"]),
                      0.3),
               # Far from the threshold: a gate that flips is no rounding error.
               _matrix(prefix + "attention.gate.weight", heads, size, 0.3),
               Weight(prefix + "attention.gate.bias", (heads,), 0.1, 1.5)]
    if kind == "density":
      result += [_matrix(prefix + "attention.density.weight", 1, size, 2.0),
                 Weight(prefix + "attention.density.bias", (1,), 0.1, -1.0)]
    result += [_matrix(prefix + "moe.router.gate.0.weight", router, size, 2.0),
               Weight(prefix + "moe.router.gate.0.bias", (router,), 0.1),
               _matrix(prefix + "moe.router.gate.2.weight", experts, router, 2.0),
               Weight(prefix + "moe.router.gate.2.bias", (experts,), 0.1),
               # Two experts of equal noise would differ by less than float32 can tell.
               Weight(prefix + "moe.router.noise", (1, experts), 1 / experts, dtype="F32")]
    for expert in range(experts):
      at = f"{prefix}moe.experts.{expert}."
      # The factors are a softmax of a softmax, so near 1 / experts each.
      result += [_matrix(at + "fc1.weight", inner, size, 1.5),
                 Weight(at + "fc1.bias", (inner,), 0.1),
                 _matrix(at + "fc2.weight", size, inner, experts / 4),
                 Weight(at + "fc2.bias", (size,), 0.1)]
  return result + [_norm("norm.weight", size)]


def _deepseek_config(family, **more):
  return {
      "architectures": [f"Deepseek{family.upper()}ForCausalLM"],
      "model_type": f"deepseek_{family}", "attention_bias": False, "attention_dropout": 0.0,
      "bos_token_id": 0, "eos_token_id": 1, "first_k_dense_replace": 1, "hidden_act": "silu",
      "kv_lora_rank": 512, "max_position_embeddings": 163840, "moe_layer_freq": 1,
      "num_hidden_layers": 2, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-6,
      "rope_theta": 10000.0, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
      "v_head_dim": 128, **more}


def _yarn(mscale):
  return {"beta_fast": 32, "beta_slow": 1, "factor": 40.0, "mscale": mscale,
          "mscale_all_dim": mscale, "original_max_position_embeddings": 4096, "type": "yarn"}


def _grouped_config(name, architecture, **more):
  return {
      "architectures": [architecture], "model_type": name, "attention_bias": False,
      "attention_dropout": 0.0, "bos_token_id": 0, "eos_token_id": 1, "hidden_act": "silu",
      "max_position_embeddings": MAX_POSITIONS, "num_hidden_layers": 2, "rope_scaling": None,
      "tie_word_embeddings": False, "torch_dtype": "bfloat16", **more}


def _adaptive_config(*kinds):
  return {
      "architectures": ["AdaptiveMoeForCausalLM"], "model_type": "adaptive_moe",
      "attention_bias": True, "attention_types": list(kinds), "attention_top_k": 64,
      "block_keep_percent": 30, "block_size": 64, "capacity_window": None,
      "density_threshold": 0.5, "density_window": 64, "dtype": "bfloat16", "eos_token_id": 1,
      "expert_capacity": None, "hidden_size": 2048, "layer_norm_eps": 1e-05,
      "memory_compression": False, "memory_compression_ratio": 0.4, "moe_intermediate_size": 1408,
      "moe_num_experts": 64, "moe_top_k": 6, "num_attention_heads": 16, "num_global_blocks": 1,
      "num_hidden_layers": 2, "num_labels": 0, "num_local_blocks": 1, "num_random_blocks": 3,
      "random_block_seed": 0, "relative_positions": 128, "rms_norm_eps": 1e-06,
      "router_hidden_size": 256, "sliding_window": 256, "sparse_gate": True,
      "sparse_gate_threshold": 0.1, "task_heads": ["generation"], "tie_word_embeddings": False}


_TINY_LATENTS = {"hidden_size": 128, "intermediate_size": 256, "kv_lora_rank": 32,
                 "moe_intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 4,
                 "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16}
_TINY_HEADS = {"hidden_size": 128, "intermediate_size": 192, "num_attention_heads": 4,
               "num_key_value_heads": 2}
_TINY_ADAPTIVE = {"hidden_size": 128, "moe_intermediate_size": 48, "moe_num_experts": 8,
                  "moe_top_k": 2, "num_attention_heads": 4, "router_hidden_size": 64,
                  "attention_top_k": 16}

SHAPES = {
    "deepseek-v2-lite": Shape(
        _deepseek_config("v2", hidden_size=2048, intermediate_size=10944,
                         moe_intermediate_size=1408, n_group=1, n_routed_experts=64,
                         n_shared_experts=2, norm_topk_prob=False, num_attention_heads=16,
                         num_experts_per_tok=6, num_key_value_heads=16, q_lora_rank=None,
                         rope_scaling=_yarn(0.707), routed_scaling_factor=1.0,
                         scoring_func="softmax", topk_group=1, topk_method="greedy"),
        {**_TINY_LATENTS, "n_routed_experts": 8, "num_experts_per_tok": 3}, _deepseek),
    "deepseek-v3": Shape(
        _deepseek_config("v3", hidden_size=7168, intermediate_size=18432,
                         moe_intermediate_size=2048, n_group=8, n_routed_experts=64,
                         n_shared_experts=1, norm_topk_prob=True, num_attention_heads=128,
                         num_experts_per_tok=8, num_key_value_heads=128, q_lora_rank=1536,
                         num_nextn_predict_layers=0, rope_scaling=_yarn(1.0),
                         routed_scaling_factor=2.5, scoring_func="sigmoid", topk_group=4,
                         topk_method="noaux_tc"),
        {**_TINY_LATENTS, "n_routed_experts": 16, "num_experts_per_tok": 4, "q_lora_rank": 48},
        _deepseek, cut="64 of 256 experts"),
    "qwen3-30b-a3b": Shape(
        _grouped_config("qwen3_moe", "Qwen3MoeForCausalLM", decoder_sparse_step=1, head_dim=128,
                        hidden_size=2048, intermediate_size=6144, mlp_only_layers=[],
                        moe_intermediate_size=768, norm_topk_prob=True, num_attention_heads=32,
                        num_experts=128, num_experts_per_tok=8, num_key_value_heads=4,
                        rms_norm_eps=1e-06, rope_theta=1000000.0, sliding_window=None,
                        use_sliding_window=False),
        {**_TINY_HEADS, "head_dim": 32, "moe_intermediate_size": 48, "num_experts": 8,
         "num_experts_per_tok": 3}, _qwen3_moe),
    "mixtral-8x7b": Shape(
        _grouped_config("mixtral", "MixtralForCausalLM", hidden_size=4096,
                        intermediate_size=14336, num_attention_heads=32, num_experts_per_tok=2,
                        num_key_value_heads=8, num_local_experts=8, rms_norm_eps=1e-05,
                        rope_theta=1000000.0, sliding_window=None),
        _TINY_HEADS, _mixtral),
    "llama-3-8b": Shape(
        _grouped_config("llama", "LlamaForCausalLM", hidden_size=4096, intermediate_size=14336,
                        mlp_bias=False, num_attention_heads=32, num_key_value_heads=8,
                        rms_norm_eps=1e-05, rope_theta=500000.0),
        _TINY_HEADS, _llama),
    "gpt-oss-20b": Shape(
        _grouped_config("gpt_oss", "GptOssForCausalLM", attention_bias=True, head_dim=64,
                        hidden_size=2880, intermediate_size=2880,
                        layer_types=["sliding_attention", "full_attention"],
                        num_attention_heads=64, num_experts_per_tok=4, num_key_value_heads=8,
                        num_local_experts=32, rms_norm_eps=1e-05, rope_theta=150000.0,
                        rope_scaling={"beta_fast": 32.0, "beta_slow": 1.0, "factor": 32.0,
                                      "original_max_position_embeddings": 4096,
                                      "rope_type": "yarn", "truncate": False},
                        sliding_window=128, swiglu_limit=7.0),
        {**_TINY_HEADS, "head_dim": 32, "num_local_experts": 8, "sliding_window": 24}, _gpt_oss),
    "adaptive-full-window": Shape(
        _adaptive_config("full", "sliding_window"), _TINY_ADAPTIVE, _adaptive),
    "adaptive-blocks-density": Shape(
        _adaptive_config("block_sparse", "density"), _TINY_ADAPTIVE, _adaptive),
    "adaptive-topk": Shape(
        _adaptive_config("topk", "block_topk"), _TINY_ADAPTIVE, _adaptive),
}

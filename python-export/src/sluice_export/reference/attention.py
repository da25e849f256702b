"""Causal self-attention: grouped heads, and DeepSeek's compressed keys and values (MLA)."""

import numpy as np

from sluice_export.reference import rotary
from sluice_export.reference.layers import linear, rms_norm


def attend(query, key, value, scale, window=None, sinks=None):
  """Returns softmax(query key^T scale) value for each head.

  Args:
    query: [heads, T, d].
    key: [kv heads, T, d], kv heads a divisor of heads.
    value: [kv heads, T, e].
    scale: factor of the products.
    window: number of keys that a query sees, itself included; None for all.
    sinks: [heads], one more logit per head that takes weight and gives no value; or None.

  Returns:
    [T, heads * e].
  """
  heads, length = query.shape[:2]
  repeat = heads // key.shape[0]
  key, value = np.repeat(key, repeat, axis=0), np.repeat(value, repeat, axis=0)
  scores = query @ key.transpose(0, 2, 1) * query.dtype.type(scale)
  distance = np.arange(length)[:, None] - np.arange(length)
  seen = distance >= 0
  if window is not None:
    seen &= distance < window
  scores = np.where(seen, scores, -np.inf)
  highest = scores.max(axis=-1, keepdims=True)
  if sinks is not None:
    highest = np.maximum(highest, sinks[:, None, None])
  weights = np.exp(scores - highest)
  total = weights.sum(axis=-1, keepdims=True)
  if sinks is not None:
    total += np.exp(sinks[:, None, None] - highest)
  mixed = (weights / total) @ value
  return mixed.transpose(1, 0, 2).reshape(length, -1)


class GroupedAttention:
  """Attention with one key and value head for several query heads.

  Biases, norms of queries and keys, and sinks are used where the checkpoint has them.
  """

  def __init__(self, settings, weights, layer):
    self.weights = weights
    self.prefix = f"model.layers.{layer}.self_attn."
    self.heads = settings["num_attention_heads"]
    self.kv_heads = settings.get("num_key_value_heads", self.heads)
    self.head_dim = settings.get("head_dim") or settings["hidden_size"] // self.heads
    self.eps = settings["rms_norm_eps"]
    self.rope = rotary.parameters(settings)
    self.window = _window(settings, layer)

  def __call__(self, x):
    cos, sin = (table.astype(x.dtype)
                for table in rotary.tables(self.rope, self.head_dim, len(x)))
    query = rotary.rotate_halves(self._heads(x, "q", self.heads), cos, sin)
    key = rotary.rotate_halves(self._heads(x, "k", self.kv_heads), cos, sin)
    value = self._heads(x, "v", self.kv_heads)
    mixed = attend(query, key, value, self.head_dim**-0.5, self.window,
                   self.weights.get(self.prefix + "sinks"))
    return linear(mixed, self.weights, self.prefix + "o_proj")

  def _heads(self, x, kind, heads):
    split = linear(x, self.weights, f"{self.prefix}{kind}_proj").reshape(len(x), heads, -1)
    norm = f"{self.prefix}{kind}_norm.weight"
    if norm in self.weights:
      split = rms_norm(split, self.weights[norm], self.eps)
    return split.transpose(1, 0, 2)


class LatentAttention:
  """Attention whose keys and values come from one compressed vector per token."""

  def __init__(self, settings, weights, layer):
    self.weights = weights
    self.prefix = f"model.layers.{layer}.self_attn."
    self.heads = settings["num_attention_heads"]
    self.plain_dim = settings["qk_nope_head_dim"]
    self.rotary_dim = settings["qk_rope_head_dim"]
    self.rank = settings["kv_lora_rank"]
    self.compressed_query = settings.get("q_lora_rank") is not None
    self.rope = rotary.parameters(settings)
    self.eps = settings["rms_norm_eps"]
    self.scale = (self.plain_dim + self.rotary_dim)**-0.5
    if self.rope["rope_type"] == "yarn" and self.rope.get("mscale_all_dim"):
      self.scale *= rotary.magnitude(self.rope["factor"], self.rope["mscale_all_dim"])**2

  def __call__(self, x):
    tables = [table.astype(x.dtype)
              for table in rotary.tables(self.rope, self.rotary_dim, len(x))]
    query = self._query(x).reshape(len(x), self.heads, -1).transpose(1, 0, 2)
    plain, turned = np.split(query, [self.plain_dim], axis=-1)
    query = np.concatenate([plain, rotary.rotate_neighbours(turned, *tables)], axis=-1)

    latent = linear(x, self.weights, self.prefix + "kv_a_proj_with_mqa")
    latent, turned = np.split(latent, [self.rank], axis=-1)
    latent = rms_norm(latent, self.weights[self.prefix + "kv_a_layernorm.weight"], self.eps)
    pair = linear(latent, self.weights, self.prefix + "kv_b_proj")
    pair = pair.reshape(len(x), self.heads, -1).transpose(1, 0, 2)
    plain, value = np.split(pair, [self.plain_dim], axis=-1)
    # All heads share the one rotated key.
    turned = rotary.rotate_neighbours(turned[None], *tables)
    key = np.concatenate([plain, np.repeat(turned, self.heads, axis=0)], axis=-1)
    return linear(attend(query, key, value, self.scale), self.weights, self.prefix + "o_proj")

  def _query(self, x):
    if not self.compressed_query:
      return linear(x, self.weights, self.prefix + "q_proj")
    latent = linear(x, self.weights, self.prefix + "q_a_proj")
    latent = rms_norm(latent, self.weights[self.prefix + "q_a_layernorm.weight"], self.eps)
    return linear(latent, self.weights, self.prefix + "q_b_proj")


def _window(settings, layer):
  kinds = settings.get("layer_types")
  if kinds is not None:
    return settings["sliding_window"] if kinds[layer] == "sliding_attention" else None
  if settings.get("use_sliding_window") is False:
    return None
  return settings.get("sliding_window")

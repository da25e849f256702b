"""Feed-forward layers: gated, and mixtures of experts."""

import numpy as np

from sluice_export.errors import ExportError
from sluice_export.reference.layers import linear, sigmoid, silu, softmax, top

# What gpt-oss checkpoints from before the keys existed mean.
_SWIGLU_ALPHA, _SWIGLU_LIMIT = 1.702, 7.0


def gated(x, weights, prefix):
  """Returns down(silu(gate(x)) * up(x))."""
  hidden = silu(linear(x, weights, prefix + "gate_proj"))
  return linear(hidden * linear(x, weights, prefix + "up_proj"), weights, prefix + "down_proj")


class Dense:
  """One gated layer for every token."""

  routing = None

  def __init__(self, settings, weights, layer):
    self.weights = weights
    self.prefix = f"model.layers.{layer}.mlp."

  def __call__(self, x):
    return gated(x, self.weights, self.prefix)


class Mixture:
  """Routed experts, and shared ones where the checkpoint has them.

  After a call, `routing` is (experts [T, K], weights [T, K]), by falling weight.
  """

  def __init__(self, settings, weights, layer):
    self.settings = settings
    self.weights = weights
    self.prefix = f"model.layers.{layer}.mlp."
    self.count = settings["num_experts_per_tok"]
    self.routing = None

  def __call__(self, x):
    chosen, factors = self._route(x)
    order = np.argsort(-factors, axis=-1, kind="stable")
    chosen = np.take_along_axis(chosen, order, -1)
    factors = np.take_along_axis(factors, order, -1)
    self.routing = (chosen, factors)
    result = np.zeros_like(x)
    for expert in np.unique(chosen):
      tokens, place = np.nonzero(chosen == expert)
      result[tokens] += self._expert(x[tokens], expert) * factors[tokens, place, None]
    if f"{self.prefix}shared_experts.up_proj.weight" in self.weights:
      result += gated(x, self.weights, self.prefix + "shared_experts.")
    return result

  def _expert(self, x, expert):
    return gated(x, self.weights, f"{self.prefix}experts.{expert}.")

  def _route(self, x):
    logits = linear(x, self.weights, self.prefix + "gate")
    scoring = self.settings.get("scoring_func", "softmax")
    if scoring not in ("softmax", "sigmoid"):
      raise ExportError("scoring_func", scoring, expected="softmax or sigmoid")
    scores = softmax(logits) if scoring == "softmax" else sigmoid(logits)
    bias = self.weights.get(self.prefix + "gate.e_score_correction_bias")
    chosen = top(self._eligible(scores, bias), self.count)
    factors = np.take_along_axis(scores, chosen, -1)
    if self.settings.get("norm_topk_prob"):
      factors = factors / factors.sum(axis=-1, keepdims=True)
    return chosen, factors * factors.dtype.type(self.settings.get("routed_scaling_factor", 1.0))

  def _eligible(self, scores, bias):
    """Returns the scores to choose by.

    The experts of groups that are not chosen score 0 in DeepSeek-V2, whose scores are positive, and
    -inf in DeepSeek-V3, where the bias may bring an expert of a chosen group below 0. Fixtures
    override that by `unchosen_group_score` to show what it matters.
    """
    method = self.settings.get("topk_method", "greedy")
    if method == "greedy":
      return scores
    groups = self.settings["n_group"]
    if method == "noaux_tc":
      scores = scores + bias
      parts = scores.reshape(len(scores), groups, -1)
      value = np.sort(parts, axis=-1)[..., -2:].sum(axis=-1)
      unchosen = -np.inf
    elif method == "group_limited_greedy":
      parts = scores.reshape(len(scores), groups, -1)
      value = parts.max(axis=-1)
      unchosen = 0.0
    else:
      raise ExportError("topk_method", method,
                        expected="greedy, group_limited_greedy or noaux_tc")
    kept = np.zeros(value.shape, dtype=bool)
    np.put_along_axis(kept, top(value, self.settings["topk_group"]), True, -1)
    unchosen = scores.dtype.type(self.settings.get("unchosen_group_score", unchosen))
    return np.where(kept[..., None], parts, unchosen).reshape(scores.shape)


class ClampedMixture(Mixture):
  """The mixture of gpt-oss: biases everywhere, interleaved gate and up, a clamped gate."""

  def _route(self, x):
    logits = linear(x, self.weights, self.prefix + "router")
    chosen = top(logits, self.count)
    return chosen, softmax(np.take_along_axis(logits, chosen, -1))

  def _expert(self, x, expert):
    both = x @ self._matrix("gate_up_proj", expert).T
    both = both + self.weights[self.prefix + "experts.gate_up_proj_bias"][expert]
    limit = self.settings.get("swiglu_limit", _SWIGLU_LIMIT)
    gate = np.minimum(both[:, 0::2], limit)
    up = np.clip(both[:, 1::2], -limit, limit)
    hidden = (up + 1) * gate * sigmoid(gate * self.settings.get("swiglu_alpha", _SWIGLU_ALPHA))
    result = hidden @ self._matrix("down_proj", expert).T
    return result + self.weights[self.prefix + "experts.down_proj_bias"][expert]

  def _matrix(self, name, expert):
    """Returns one expert's matrix [out, in]."""
    matrix = self.weights[f"{self.prefix}experts.{name}"][expert]
    # Plain checkpoints store [in, out], MXFP4 ones [out, in] with the groups along a row.
    packed = f"{self.prefix}experts.{name}_blocks" in self.weights
    return matrix if packed else matrix.T

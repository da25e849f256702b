"""A whole decoder."""

from dataclasses import dataclass, field
from typing import Dict, Tuple

import numpy as np

from sluice_export.errors import ExportError
from sluice_export.reference.attention import GroupedAttention, LatentAttention
from sluice_export.reference.feed_forward import ClampedMixture, Dense, Mixture
from sluice_export.reference.layers import rms_norm
from sluice_export.reference.weights import Weights

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "qwen3_moe", "deepseek", "deepseek_v2",
            "deepseek_v3", "gpt_oss")


@dataclass
class Trace:
  """What one pass computes.

  Attributes:
    logits: [T, V].
    hidden: layer to the block's output [T, H].
    final_norm: input of the output head [T, H].
    routers: mixture layer to (expert ids [T, K], weights [T, K]), by falling weight.
  """

  logits: np.ndarray
  final_norm: np.ndarray
  hidden: Dict[int, np.ndarray] = field(default_factory=dict)
  routers: Dict[int, Tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)


class Decoder:
  """A checkpoint that can be run. Not safe for several threads at once."""

  def __init__(self, settings, tensors, dtype=np.float64, change=None):
    """Builds the layers that config.json describes.

    Args:
      settings: config.json's object.
      tensors: list of Tensor; layers past num_hidden_layers (multi-token prediction) are not used.
      dtype: numpy type of every weight and every step; rotary tables are computed in float64.
      change: applied to every decoded weight, or None.

    Raises:
      ExportError: a family or a setting that this reference does not know.
    """
    family = settings.get("model_type")
    if family not in FAMILIES:
      raise ExportError("model_type", family, expected=", ".join(FAMILIES))
    settings = dict(settings)
    if family == "qwen2" and not settings.get("use_sliding_window"):
      settings["sliding_window"] = None
    if family == "deepseek_v3":
      # The family has one router; published configs agree with it, and some leave the keys out.
      settings.setdefault("scoring_func", "sigmoid")
      settings.setdefault("topk_method", "noaux_tc")
    if family == "deepseek_v2":
      settings["norm_topk_prob"] = False  # the family's code never reads it
    self.settings = settings
    self.dtype = np.dtype(dtype)
    self.weights = Weights(tensors, settings, dtype, change)
    attention = LatentAttention if "kv_lora_rank" in settings else GroupedAttention
    self._layers = [
        (attention(settings, self.weights, layer), self._feed_forward(family, layer))
        for layer in range(settings["num_hidden_layers"])]

  def run(self, ids):
    """Returns the logits [T, V] of a sequence that begins at position 0."""
    return self.trace(ids).logits

  def trace(self, ids):
    """Returns the Trace of one sequence of token ids."""
    weights, eps = self.weights, self.settings["rms_norm_eps"]
    result = Trace(None, None)
    x = weights["model.embed_tokens.weight"][np.asarray(ids)]
    for number, (attention, feed_forward) in enumerate(self._layers):
      prefix = f"model.layers.{number}."
      x = x + attention(rms_norm(x, weights[prefix + "input_layernorm.weight"], eps))
      x = x + feed_forward(rms_norm(x, weights[prefix + "post_attention_layernorm.weight"], eps))
      result.hidden[number] = x
      if feed_forward.routing is not None:
        result.routers[number] = feed_forward.routing
    result.final_norm = rms_norm(x, weights["model.norm.weight"], eps)
    tied = self.settings.get("tie_word_embeddings", False)
    head = weights["model.embed_tokens.weight" if tied else "lm_head.weight"]
    result.logits = result.final_norm @ head.T
    assert result.logits.dtype == self.dtype, "a step changed the type"
    return result

  def _feed_forward(self, family, layer):
    settings = self.settings
    if family == "gpt_oss":
      kind = ClampedMixture
    elif family == "qwen3_moe":
      sparse = (layer not in settings.get("mlp_only_layers", ())
                and (layer + 1) % settings.get("decoder_sparse_step", 1) == 0)
      kind = Mixture if sparse else Dense
    elif family.startswith("deepseek"):
      sparse = (settings.get("n_routed_experts") is not None
                and layer >= settings.get("first_k_dense_replace", 0)
                and layer % settings.get("moe_layer_freq", 1) == 0)
      kind = Mixture if sparse else Dense
    else:
      kind = Dense
    return kind(settings, self.weights, layer)

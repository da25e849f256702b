"""One pass of a transformers model, with what it computes on the way."""

import re
from dataclasses import dataclass, field
from typing import Dict, Tuple

import torch

_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


@dataclass
class Trace:
  """What a pass left behind; every tensor without the batch axis.

  Attributes:
    logits: [T, V].
    hidden: layer to the block's output [T, H].
    final_norm: input of the output head [T, H], or None.
    routers: MoE layer to (expert ids [T, K], weights [T, K]), by falling weight.
  """

  logits: torch.Tensor = None
  hidden: Dict[int, torch.Tensor] = field(default_factory=dict)
  final_norm: torch.Tensor = None
  routers: Dict[int, Tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)


@torch.no_grad()
def run(model, ids):
  """Returns the logits [T, V] of a sequence that begins at position 0, without a cache."""
  return model(torch.tensor([ids]), use_cache=False).logits[0]


@torch.no_grad()
def trace(model, ids):
  """Returns the Trace of one sequence."""
  result = Trace()
  hooks = []
  head = model.get_output_embeddings()
  if head is not None:
    hooks.append(head.register_forward_pre_hook(
        lambda _, inputs: setattr(result, "final_norm", inputs[0][0].clone())))
  layers = getattr(model.base_model, "layers", None)
  for index, layer in enumerate(layers if layers is not None else ()):
    hooks.append(layer.register_forward_hook(_keep_hidden(result, index)))
  for name, module in model.named_modules():
    found = _LAYER.search(name + ".")
    # transformers hands every family's routing to its experts as two tensors of [T, K].
    if found and type(module).__name__.endswith("Experts"):
      hooks.append(module.register_forward_pre_hook(
          _keep_router(result, int(found[1])), with_kwargs=True))
  try:
    result.logits = run(model, ids)
  finally:
    for hook in hooks:
      hook.remove()
  return result


def _keep_hidden(result, index):
  def hook(_, __, output):
    output = output[0] if isinstance(output, tuple) else output
    result.hidden[index] = output[0].clone()
  return hook


def _keep_router(result, layer):
  def hook(_, args, kwargs):
    tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
    chosen = [value for value in tensors if not value.is_floating_point()]
    if len(tensors) != 3 or len(chosen) != 1 or not tensors[2].is_floating_point():
      return
    experts, weights = chosen[0], tensors[2]
    if weights.shape != experts.shape:
      if weights.dim() != 2 or experts.dim() != 2 or len(weights) != len(experts):
        return
      weights = weights.gather(1, experts)
    order = weights.argsort(dim=-1, descending=True, stable=True)
    result.routers[layer] = (experts.gather(1, order), weights.gather(1, order))
  return hook

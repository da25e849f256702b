"""One pass of a transformers model, with what it computes on the way."""

import contextlib
import re
import sys
import types
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


# Of one tensor of attention's logits: a few of them are there at the same time.
_LOGIT_BYTES = 4 << 30


@torch.no_grad()
def run(model, ids, routers=None):
  """Returns the logits [T, V] of a sequence that begins at position 0, without a cache.

  Args:
    model: a transformers model.
    ids: token ids.
    routers: layer to (expert ids [T, K], weights [T, K]) that are used in place of the model's own.
  """
  hooks = []
  for layer, module in _experts(model):
    if routers is not None:
      hooks.append(module.register_forward_pre_hook(_replay_router(*routers[layer]),
                                                    with_kwargs=True))
  try:
    return model(torch.tensor([ids], device=model.device), use_cache=False).logits[0]
  finally:
    for hook in hooks:
      hook.remove()


@torch.no_grad()
def trace(model, ids, hidden=True):
  """Returns the Trace of one sequence; without `hidden` only logits and routers."""
  result = Trace()
  hooks = []
  head = model.get_output_embeddings() if hidden else None
  if head is not None:
    hooks.append(head.register_forward_pre_hook(
        lambda _, inputs: setattr(result, "final_norm", inputs[0][0].clone())))
  layers = getattr(model.base_model, "layers", None) if hidden else None
  for index, layer in enumerate(layers if layers is not None else ()):
    hooks.append(layer.register_forward_hook(_keep_hidden(result, index)))
  for layer, module in _experts(model):
    hooks.append(module.register_forward_pre_hook(_keep_router(result, layer), with_kwargs=True))
  try:
    result.logits = run(model, ids)
  finally:
    for hook in hooks:
      hook.remove()
  return result


@contextlib.contextmanager
def few_heads_at_once(model):
  """Inside, plain ("eager") attention computes as many heads together as memory can hold."""
  sources = {sys.modules[type(module).__module__] for module in model.modules()
             if type(module).__name__.endswith("Attention")}
  originals = {source: source.eager_attention_forward for source in sources
               if hasattr(source, "eager_attention_forward")}
  for source, original in originals.items():
    source.eager_attention_forward = _by_heads(original)
  try:
    yield
  finally:
    for source, original in originals.items():
      source.eager_attention_forward = original


def _by_heads(attend):
  def attend_by_heads(module, query, key, value, attention_mask, scaling, **kwargs):
    group = query.shape[1] // key.shape[1]
    head_bytes = query.shape[2] * key.shape[2] * query.element_size()
    step = max(1, _LOGIT_BYTES // (group * head_bytes))
    parts = []
    for first in range(0, key.shape[1], step):
      kv = slice(first, first + step)
      heads = slice(first * group, (first + step) * group)
      part = types.SimpleNamespace(num_key_value_groups=group, training=False)
      if hasattr(module, "sinks"):
        part.sinks = module.sinks[heads]
      parts.append(attend(part, query[:, heads], key[:, kv], value[:, kv], attention_mask, scaling,
                          **kwargs)[0])
    return torch.cat(parts, dim=2), None
  return attend_by_heads


def _experts(model):
  """Yields (layer, module) of what gets the chosen experts."""
  for name, module in model.named_modules():
    found = _LAYER.search(name + ".")
    # transformers hands every family's routing to its experts as two tensors of [T, K].
    if found and type(module).__name__.endswith("Experts"):
      yield int(found[1]), module


def _replay_router(experts, weights):
  def hook(_, args, kwargs):
    def replace(value):
      if not isinstance(value, torch.Tensor):
        return value
      chosen = torch.as_tensor(experts, device=value.device)
      if not value.is_floating_point():
        return chosen.to(value.dtype)
      if value.shape[-1] == hidden_size:
        return value
      factors = torch.as_tensor(weights, device=value.device).to(value.dtype)
      if value.shape == factors.shape:
        return factors
      return torch.zeros_like(value).scatter(1, chosen, factors)
    hidden_size = args[0].shape[-1] if args else next(iter(kwargs.values())).shape[-1]
    return tuple(map(replace, args)), {name: replace(value) for name, value in kwargs.items()}
  return hook


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

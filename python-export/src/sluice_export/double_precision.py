"""Runs a transformers model in float64 throughout.

Models written for float32 and below lift single steps (norms, softmax, rotary tables, routers) to
float32 by name, which would lower a float64 run. Here every such request inside the `with` block
means float64, and a result that still has less precision is an error rather than a silent loss.
"""

import torch
from torch.overrides import TorchFunctionMode

from sluice_export.errors import ExportError

_LOW = (torch.float32, torch.float16, torch.bfloat16)
_LOWERING = ("float", "half", "bfloat16")


class DoublePrecision(TorchFunctionMode):
  """Replaces float32, float16 and bfloat16 by float64 in every call of torch."""

  def __torch_function__(self, function, types, args=(), kwargs=None):
    name = getattr(function, "__name__", "")
    if name in _LOWERING and args and isinstance(args[0], torch.Tensor):
      function, args, kwargs = torch.Tensor.double, args[:1], {}
    result = function(*map(_lift, args), **{k: _lift(v) for k, v in (kwargs or {}).items()})
    _check(result, name)
    return result


def place(model_class, folder, device, **options):
  """from_pretrained(folder), on a device."""
  if device == "cpu":
    return model_class.from_pretrained(folder, **options)
  try:
    return model_class.from_pretrained(folder, device_map=device, **options)
  except (ImportError, ValueError) as error:
    if "accelerate" not in str(error):
      raise
  loaded = model_class.from_pretrained(folder, **options)  # by way of the host
  if isinstance(loaded, tuple):
    return (loaded[0].to(device), *loaded[1:])
  return loaded.to(device)


def load(model_class, folder, config, device="cpu"):
  """Loads a checkpoint with parameters, buffers and rotary tables in float64.

  Args:
    model_class: a transformers Auto class.
    folder: checkpoint folder.
    config: its transformers configuration.
    device: where the model is to be.

  Returns:
    (model in evaluation mode, from_pretrained's loading report).
  """
  model, loaded = place(
      model_class, folder, device, config=config, dtype=torch.float64, attn_implementation="eager",
      experts_implementation="eager", local_files_only=True, trust_remote_code=False,
      output_loading_info=True)
  model.eval()
  with DoublePrecision():
    for name, module in list(model.named_modules()):
      if type(module).__name__.endswith("RotaryEmbedding"):
        # Its tables were computed in float32; building it again in here computes them in float64.
        parent, _, attribute = name.rpartition(".")
        fresh = type(module)(module.config)
        setattr(model.get_submodule(parent), attribute,
                fresh if device == "cpu" else fresh.to(device))
  for name, tensor in (*model.named_parameters(), *model.named_buffers()):
    if tensor.dtype in _LOW:
      raise ExportError(name, f"stays {tensor.dtype} in a float64 run", expected="float64",
                        remedy="golden does not support this architecture")
  return model, loaded


def _lift(value):
  if isinstance(value, torch.dtype):
    return torch.float64 if value in _LOW else value
  if isinstance(value, (tuple, list)) and type(value) in (tuple, list):
    return type(value)(map(_lift, value))
  return value


def _check(result, name):
  results = result if isinstance(result, (tuple, list)) else (result,)
  for item in results:
    if isinstance(item, torch.Tensor) and item.dtype in _LOW:
      raise ExportError(f"torch.{name}", f"gave {item.dtype} in a float64 run", expected="float64",
                        remedy="golden does not support this architecture")

"""Two-layer checkpoints at the real sizes of published models, with the outputs they must produce.

Fixtures are too small for kernels that are tuned to certain widths; these are not. Weights are
random and the same for a seed and a kind of device. Outputs come from transformers (for
`adaptive_moe` from its reference model) in float64, and once more in bfloat16 with the float64
run's experts, so that an engine's bfloat16 can be held against PyTorch's.

expected.safetensors is that of tests/golden/fixtures/README.md with `positions_i` beside each
prompt: its logits are those of these positions alone.
"""

import importlib.util
import json
import os
import sys
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sluice_export import staging
from sluice_export.errors import ExportError
from sluice_export.optional import require
from sluice_export.real_sizes import SHAPES
from sluice_export.safetensors_io import write_file
from sluice_export.tensor import Tensor, from_array

LENGTHS = {"real": (1, 17, 129, 1000, 5000), "tiny": (1, 17, 129)}

# Masks of more keys are too many to keep; the pairs grow with the square.
_MOST_MASKED = 1000
_LAST_POSITIONS = 8
_SPREAD_POSITIONS = 24


@dataclass
class CheckpointReport:
  """What was made.

  Attributes:
    folder: the checkpoint.
    lengths: tokens of each prompt.
    errors: relative L2 error of PyTorch's bfloat16 logits against float64, of each prompt.
    logit_std: standard deviation of the float64 logits.
    seconds: what each step took.
  """

  folder: Path
  lengths: list
  errors: list = field(default_factory=list)
  logit_std: float = 0.0
  seconds: dict = field(default_factory=dict)

  def lines(self):
    """Returns the report as lines of text."""
    took = ", ".join(f"{name} {value:.1f} s" for name, value in self.seconds.items())
    size = os.path.getsize(self.folder / "model.safetensors") / 1e9
    return [f"{self.folder}: {size:.2f} GB, prompts of {', '.join(map(str, self.lengths))} tokens, "
            f"logits of standard deviation {self.logit_std:.2f}",
            "  PyTorch's bfloat16 against float64, relative: "
            + ", ".join(f"{error:.2e}" for error in self.errors),
            f"  {took}"]


def make_checkpoint(folder, name, scale="real", device="cpu", seed=1, adaptive_reference=None,
                    force=False):
  """Writes config.json, model.safetensors and expected.safetensors.

  Args:
    folder: where; made if it is not there.
    name: one of real_sizes.SHAPES.
    scale: "real" or "tiny".
    device: where torch computes, "cpu" or "cuda".
    seed: of weights and prompts.
    adaptive_reference: reference_model.py of the fixture adaptive_moe; for the adaptive shapes.
    force: replace a checkpoint that is there.

  Returns:
    CheckpointReport.

  Raises:
    ExportError: an unknown name, or a checkpoint that is there.
    MissingDependencyError: torch or transformers is not installed.
  """
  if name not in SHAPES:
    raise ExportError("--shape", name, expected=", ".join(SHAPES))
  if scale not in LENGTHS:
    raise ExportError("--scale", scale, expected=", ".join(LENGTHS))
  torch = require("torch", "golden")
  os.environ["HF_HUB_OFFLINE"] = "1"
  folder = Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  staging.check_free(folder / "model.safetensors", force)
  settings = SHAPES[name].settings(scale)
  (folder / "config.json").write_text(json.dumps(settings, indent=1) + "\n")
  report = CheckpointReport(folder, list(LENGTHS[scale]))
  timer = _Timer(torch, device, report.seconds)
  _write_weights(torch, folder, SHAPES[name].weights(settings), device, seed)
  timer.took("weights")
  random = np.random.default_rng(seed)
  prompts = [random.integers(2, settings["vocab_size"], size=length).tolist()
             for length in report.lengths]
  runner = runner_of(torch, folder, settings, device, adaptive_reference)
  tensors, oracle = [], []
  runner.load("float64")
  timer.took("load float64")
  for number, ids in enumerate(prompts):
    trace = runner.trace(ids)
    places = positions(len(ids))
    oracle.append(trace.logits[places])
    tensors += [from_array(f"input_ids_{number}", "I64", ids),
                from_array(f"positions_{number}", "I64", places),
                from_array(f"logits64_{number}", "F32", oracle[-1])]
    for layer, (experts, weights) in trace.routers.items():
      tensors += [from_array(f"router_idx_{number}_{layer}", "I64", experts),
                  from_array(f"router_weight_{number}_{layer}", "F32", weights)]
    for layer, mask in trace.masks.items():
      tensors.append(from_array(f"attention_keep_{number}_{layer}", "U8", mask))
    runner.remember(number, trace)
  timer.took("float64")
  runner.load("bfloat16")
  timer.took("load bfloat16")
  for number, ids in enumerate(prompts):
    for layer, (experts, _) in runner.own_routers(ids).items():
      tensors.append(from_array(f"router_idx_bfloat16_{number}_{layer}", "I64", experts))
    logits = runner.replayed(number, ids)[positions(len(ids))]
    tensors.append(from_array(f"logits_bfloat16_{number}", "F32", logits))
    report.errors.append(float(np.linalg.norm(logits - oracle[number])
                               / np.linalg.norm(oracle[number])))
  timer.took("bfloat16")
  runner.close()
  report.logit_std = float(np.std(np.concatenate(oracle)))
  with open(folder / "expected.safetensors", "wb") as file:
    write_file(file, tensors)
  timer.took("write")
  return report


def runner_of(torch, folder, settings, device, adaptive_reference):
  """Returns what runs a checkpoint: load(dtype), then trace(ids), or remember() and replayed()."""
  if settings["model_type"] == "adaptive_moe":
    return _Adaptive(torch, folder, device, adaptive_reference)
  return _Transformers(torch, folder, device)


def positions(length):
  """Returns the positions of a prompt whose logits are kept: the last ones, and some before."""
  if length <= _LAST_POSITIONS + _SPREAD_POSITIONS:
    return list(range(length))
  spread = np.linspace(0, length - 1 - _LAST_POSITIONS, _SPREAD_POSITIONS).astype(int)
  return sorted({*spread.tolist(), *range(length - _LAST_POSITIONS, length)})


class _Timer:

  def __init__(self, torch, device, seconds):
    self.wait = torch.cuda.synchronize if device != "cpu" else lambda: None
    self.seconds = seconds
    self.begin = time.monotonic()

  def took(self, name):
    self.wait()
    now = time.monotonic()
    self.seconds[name] = now - self.begin
    self.begin = now


def _write_weights(torch, folder, weights, device, seed):
  # One tensor at a time passes through it, at the speed of the bus.
  largest = max(int(np.prod(weight.shape)) for weight in weights)
  staging_buffer = torch.empty(largest, dtype=torch.bfloat16, pin_memory=device != "cpu")

  def loader(weight):
    def load():
      generator = torch.Generator(device).manual_seed(seed * 1000003 + zlib.crc32(
          weight.name.encode()))
      values = torch.randn(weight.shape, generator=generator, device=device)
      values = values.mul_(weight.std).add_(weight.mean)
      if weight.dtype == "F32":
        return values.cpu().numpy()
      host = staging_buffer[:values.numel()].view(weight.shape)
      host.copy_(values)
      return host.view(torch.int16).numpy().view("<u2")
    return load

  tensors = [Tensor(w.name, w.dtype, tuple(w.shape), loader(w)) for w in weights]
  with open(folder / "model.safetensors", "wb", buffering=0) as file:
    write_file(file, tensors, {"format": "pt"})


@dataclass
class Trace:
  """What a run left behind: logits [T, V], routers and masks by layer."""

  logits: np.ndarray
  routers: dict
  masks: dict = field(default_factory=dict)


class _Transformers:
  """Runs of a checkpoint by transformers."""

  def __init__(self, torch, folder, device):
    self.torch, self.folder, self.device = torch, folder, device
    transformers = require("transformers", "golden")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    self.auto = transformers.AutoModelForCausalLM
    self.config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    self.model = None
    self.routers = {}

  def load(self, dtype):
    from sluice_export import double_precision
    self.close()
    if dtype == "float64":
      self.model, loaded = double_precision.load(self.auto, self.folder, self.config, self.device)
      for kind in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        keys = [str(key) for key in loaded.get(kind, ()) if "inv_freq" not in str(key)]
        if keys:
          raise ExportError(self.folder, f"{kind}: {keys[0]} ({len(keys)} such)",
                            expected="every weight of the architecture and no other")
      return
    # What PyTorch does best: its fused attention, where the family may use it.
    options = {"config": self.config, "dtype": getattr(self.torch, dtype), "local_files_only": True,
               "experts_implementation": "eager"}
    try:
      model = double_precision.place(self.auto, self.folder, self.device,
                                     attn_implementation="sdpa", **options)
    except ValueError:
      model = double_precision.place(self.auto, self.folder, self.device,
                                     attn_implementation="eager", **options)
    self.model = model.eval()

  def trace(self, ids):
    from sluice_export import double_precision, reference_run
    with double_precision.DoublePrecision(), reference_run.few_heads_at_once(self.model):
      trace = reference_run.trace(self.model, ids, hidden=False)
      routers = {layer: (experts.cpu().numpy(), weights.cpu().numpy())
                 for layer, (experts, weights) in trace.routers.items()}
      return Trace(trace.logits.cpu().numpy(), routers)

  def remember(self, number, trace):
    self.routers[number] = trace.routers

  def own_routers(self, ids):
    from sluice_export import reference_run
    with reference_run.few_heads_at_once(self.model):
      trace = reference_run.trace(self.model, ids, hidden=False)
    return {layer: (experts.cpu().numpy(), weights.double().cpu().numpy())
            for layer, (experts, weights) in trace.routers.items()}

  def replayed(self, number, ids):
    from sluice_export import reference_run
    with reference_run.few_heads_at_once(self.model):
      logits = reference_run.run(self.model, ids, self.routers[number])
    return logits.double().cpu().numpy()

  def close(self):
    self.model = None
    if self.device != "cpu":
      self.torch.cuda.empty_cache()


class _Adaptive:
  """Runs of a checkpoint by the reference model of adaptive_moe."""

  def __init__(self, torch, folder, device, source):
    if source is None:
      raise ExportError("--adaptive-reference", "not given",
                        expected="tests/golden/fixtures/adaptive_moe/reference_model.py")
    spec = importlib.util.spec_from_file_location("adaptive_reference", source)
    self.module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = self.module  # its dataclass looks itself up
    spec.loader.exec_module(self.module)
    self.torch, self.folder, self.device = torch, folder, device
    self.model = None
    self.decisions = {}

  def load(self, dtype):
    self.close()
    with self.torch.device(self.device):
      self.model = self.module.AdaptiveMoeModel.from_folder(
          self.folder, getattr(self.torch, dtype))

  def _run(self, ids):
    with self.torch.no_grad(), self.torch.device(self.device):
      return self.model(self.torch.tensor(ids))

  def trace(self, ids):
    out = self._run(ids)
    routers = {layer: (index.cpu().numpy(), weight.cpu().numpy())
               for layer, (index, weight, _) in enumerate(out["router"])}
    masks = {}
    if len(ids) <= _MOST_MASKED:
      masks = {layer: keep.to(self.torch.uint8).cpu().numpy()
               for layer, keep in enumerate(out["keep"])}
    return Trace(out["logits"].cpu().numpy(), routers, masks)

  def remember(self, number, trace):
    self.decisions[number] = trace

  def own_routers(self, ids):
    # Before anything is replayed, or after that is undone.
    for block in self.model.layers:
      block.moe.router.__dict__.pop("forward", None)
      block.attention.__dict__.pop("keep_mask", None)
    return {layer: (index.cpu().numpy(), weight.double().cpu().numpy())
            for layer, (index, weight, _) in enumerate(self._run(ids)["router"])}

  def replayed(self, number, ids):
    torch, decided = self.torch, self.decisions[number]
    for layer, block in enumerate(self.model.layers):
      experts, weights = (torch.tensor(part, device=self.device)
                          for part in decided.routers[layer])
      weights = weights.to(torch.bfloat16)
      block.moe.router.forward = lambda x, found=(weights, experts): found
      block.attention.__dict__.pop("keep_mask", None)
      if layer in decided.masks:
        keep = torch.tensor(decided.masks[layer], device=self.device).bool()
        block.attention.keep_mask = lambda x, scores, keep=keep: keep
    return self._run(ids)["logits"].double().cpu().numpy()

  def close(self):
    self.model = None
    if self.device != "cpu":
      self.torch.cuda.empty_cache()

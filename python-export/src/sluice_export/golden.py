"""Writes expected.safetensors: the outputs that a checkpoint must produce."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Optional

import numpy as np

from sluice_export import staging, strict_json
from sluice_export.errors import ExportError
from sluice_export.optional import require
from sluice_export.safetensors_io import read_file, write_file
from sluice_export.tensor import from_array

GREEDY_STEPS = 16
MAX_PROMPTS = 100
_RANDOM_LENGTHS = (17, 11, 30, 23, 8, 14)
_RANDOM_CANDIDATES = 10

# Offered to models that have a tokenizer; a text whose continuation ends early or is nearly
# undecided is passed over.
_TEXTS = (
    "The capital of France is",
    "def fibonacci(n):\n    if n < 2:\n        return n\n",
    "Water boils at one hundred degrees because",
    "从前有一座山，山里有一座",
    "She opened the old wooden box and found",
    "In 1969, two astronauts walked on",
    "The three primary colours are red,",
    "To make bread, first mix flour with",
    "{\"name\": \"Ada\", \"age\": 36, \"city\":",
    "Le chat dort sur",
    "A binary search halves the interval until",
    "The longest river in Africa is the",
)


@dataclass
class GoldenReport:
  """What was written.

  Attributes:
    out: the file.
    lengths: tokens of each prompt.
    errors: per reference type, relative L2 error of each prompt's logits against float64.
    smallest_gap: smallest top-1 gap along the greedy paths.
    routers: MoE layers whose router tensors were written.
    notes: one line each on what was left out.
  """

  out: Path
  lengths: List[int]
  errors: dict
  smallest_gap: float
  routers: int
  notes: List[str] = field(default_factory=list)

  def lines(self):
    """Returns the report as lines of text."""
    lines = [f"{len(self.lengths)} prompts of {', '.join(map(str, self.lengths))} tokens, "
             f"smallest top-1 gap {self.smallest_gap:.3g}"]
    for dtype, errors in self.errors.items():
      lines.append(f"{dtype} against float64, relative: "
                   + ", ".join(f"{error:.2g}" for error in errors))
    if self.routers:
      lines.append(f"router tensors of {self.routers} layers")
    lines.extend(f"note: {note}" for note in self.notes)
    lines.append(f"{self.out}: {os.path.getsize(self.out) / 1e6:.1f} MB")
    return lines


def golden(model, out=None, prompts=3, dtype="float32", inputs_from=None, min_gap=0.004,
           force=False):
  """Runs a checkpoint with transformers and writes expected.safetensors.

  Args:
    model: Hugging Face folder.
    out: file to write; None for expected.safetensors in the folder.
    prompts: how many prompts.
    dtype: "bfloat16" adds a reference run in bfloat16.
    inputs_from: another expected.safetensors whose prompts are used, or None to choose prompts.
    min_gap: prompts with a smaller top-1 gap along the greedy path are passed over.
    force: replace an existing file.

  Returns:
    GoldenReport.

  Raises:
    MissingDependencyError: torch or transformers is not installed.
    ExportError: not a checkpoint that transformers can run in float64.
  """
  model = Path(model)
  if not 1 <= prompts <= MAX_PROMPTS:
    raise ExportError("--prompts", prompts, expected=f"1 to {MAX_PROMPTS}")
  if not 0 <= min_gap < 1:
    raise ExportError("--min-gap", min_gap, expected="at least 0 and below 1")
  if not (model / "config.json").is_file():
    raise ExportError(model, "no config.json", expected="a Hugging Face folder",
                      remedy="convert a GGUF file first: sluice-export convert MODEL FOLDER")
  settings = strict_json.read_object(model / "config.json")
  out = Path(out) if out is not None else model / "expected.safetensors"
  staging.check_free(out, force)
  # Never a download, whatever a config names.
  os.environ["HF_HUB_OFFLINE"] = "1"
  require("torch", "golden")
  transformers = require("transformers", "golden")
  transformers.utils.logging.set_verbosity_error()
  transformers.utils.logging.disable_progress_bar()
  run = _Run(transformers, model, settings, min_gap)
  return run.write(out, prompts, dtype, inputs_from, force)


@dataclass
class _Prompt:
  ids: List[int]
  greedy: List[int]
  gaps: List[float]


class _Run:
  """One checkpoint on its way to expected.safetensors."""

  def __init__(self, transformers, folder, settings, min_gap):
    self.transformers = transformers
    self.folder = folder
    self.min_gap = min_gap
    try:
      self.config = transformers.AutoConfig.from_pretrained(
          folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError, KeyError) as error:
      raise ExportError(folder, f"transformers cannot read config.json: {_first_line(error)}",
                        expected="an architecture that transformers knows") from error
    self.eos = _eos_ids(folder, settings)
    self.notes = []
    self.tensors = []

  def write(self, out, count, dtype, inputs_from, force):
    from sluice_export import double_precision, reference_run
    model, loaded = self._load(lambda auto: double_precision.load(auto, self.folder, self.config))
    self._check_loaded(loaded)
    with double_precision.DoublePrecision():
      prompts = self._prompts(model, reference_run, count, inputs_from)
      oracle = self._oracle(model, reference_run, prompts)
    del model
    errors = {}
    for name in ("float32",) + (("bfloat16",) if dtype == "bfloat16" else ()):
      errors[name] = self._reference(reference_run, prompts, oracle, name)
    routers = sum(tensor.name.startswith("router_idx") for tensor in self.tensors)
    with staging.staged_file(out, force) as file:
      staging.check_space(out, sum(tensor.nbytes for tensor in self.tensors))
      write_file(file, self.tensors)
    gap = min((min(prompt.gaps) for prompt in prompts), default=0.0)
    return GoldenReport(out, [len(p.ids) for p in prompts], errors, gap, routers, self.notes)

  def _load(self, load):
    try:
      return load(self.transformers.AutoModelForCausalLM)
    except (ValueError, OSError, KeyError, RuntimeError) as error:
      raise ExportError(self.folder, f"transformers cannot load it: {_first_line(error)}",
                        expected="a causal language model with its weights") from error

  def _check_loaded(self, loaded):
    """transformers fills what it does not find with random numbers; that is refused."""
    for kind in ("missing_keys", "mismatched_keys", "unexpected_keys"):
      keys = sorted(str(key) for key in loaded.get(kind, ()) if "inv_freq" not in str(key))
      if keys:
        raise ExportError(self.folder, f"{kind}: {keys[0]} ({len(keys)} such)",
                          expected="every weight of the architecture and no other")

  def _prompts(self, model, reference_run, count, inputs_from):
    if inputs_from is not None:
      return [self._greedy(model, reference_run, ids) for ids in _inputs(inputs_from)]
    prompts = []
    for ids in self._candidates():
      prompt = self._greedy(model, reference_run, ids, reject=True)
      if prompt is not None:
        prompts.append(prompt)
      if len(prompts) == count:
        return prompts
    raise ExportError("--prompts", f"{len(prompts)} of {count} have a greedy path of "
                      f"{GREEDY_STEPS} tokens without EOS and with gaps from {self.min_gap}",
                      expected=f"{count}", remedy="ask for fewer, or lower --min-gap")

  def _candidates(self):
    """Yields prompts as lists of token ids: texts if there is a tokenizer, then random ids."""
    vocab = self.config.get_text_config().vocab_size
    limit = getattr(self.config.get_text_config(), "max_position_embeddings", 1 << 30)
    seen = []
    for text in _TEXTS if (self.folder / "tokenizer.json").is_file() else ():
      ids = self._tokenizer()(text)["input_ids"]
      if ids and max(ids) < vocab:
        seen.append(ids)
    digest = hashlib.sha256((self.folder / "config.json").read_bytes()).digest()
    random = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    special = set(self.eos)
    for number in range(_RANDOM_CANDIDATES * len(_RANDOM_LENGTHS)):
      length = _RANDOM_LENGTHS[number % len(_RANDOM_LENGTHS)]
      ids = random.integers(0, vocab, size=4 * length).tolist()
      seen.append([token for token in ids if token not in special][:length])
    return [ids for ids in seen if ids and len(ids) + GREEDY_STEPS <= limit]

  def _tokenizer(self):
    if not hasattr(self, "_loaded_tokenizer"):
      self._loaded_tokenizer = self.transformers.AutoTokenizer.from_pretrained(
          self.folder, local_files_only=True, trust_remote_code=False)
    return self._loaded_tokenizer

  def _greedy(self, model, reference_run, ids, reject=False):
    """Continues greedily, each step from the whole sequence; None if `reject` and it is unfit."""
    path, gaps = [], []
    for _ in range(GREEDY_STEPS):
      top = reference_run.run(model, ids + path)[-1].topk(2)
      path.append(int(top.indices[0]))
      gaps.append(float(top.values[0] - top.values[1]))
      if reject and (path[-1] in self.eos or gaps[-1] < self.min_gap):
        return None
    return _Prompt(ids, path, gaps)

  def _oracle(self, model, reference_run, prompts):
    """Adds the float64 tensors and returns the logits."""
    oracle = []
    for number, prompt in enumerate(prompts):
      trace = reference_run.trace(model, prompt.ids)
      oracle.append(trace.logits.numpy())
      self._add(f"input_ids_{number}", "I64", prompt.ids)
      self._add(f"logits64_{number}", "F32", oracle[-1])
      self._add(f"greedy_{number}", "I64", prompt.greedy)
      self._add(f"greedy_gap_{number}", "F32", prompt.gaps)
      if number == 0:
        self._add_trace(trace)
    return oracle

  def _add_trace(self, trace):
    for layer, hidden in trace.hidden.items():
      self._add(f"hidden_0_{layer}", "F32", hidden.numpy())
    if not trace.hidden:
      self.notes.append("no hidden_0_l: this architecture keeps its layers elsewhere")
    if trace.final_norm is not None:
      self._add("final_norm_0", "F32", trace.final_norm.numpy())
    for layer, (experts, weights) in trace.routers.items():
      self._add(f"router_idx_0_{layer}", "I64", experts.numpy())
      self._add(f"router_weight_0_{layer}", "F32", weights.numpy())
    text = self.config.get_text_config()
    experts = [getattr(text, key, None) for key in ("num_local_experts", "num_experts",
                                                    "n_routed_experts")]
    if any(experts) and not trace.routers:
      self.notes.append("no router tensors: transformers does not expose them here")

  def _reference(self, reference_run, prompts, oracle, dtype):
    """Adds the logits of a run in `dtype` and returns their relative errors."""
    import torch
    model = self._load(lambda auto: auto.from_pretrained(
        self.folder, config=self.config, dtype=getattr(torch, dtype),
        attn_implementation="eager", experts_implementation="eager",
        local_files_only=True, trust_remote_code=False)).eval()
    prefix = "logits" if dtype == "float32" else f"logits_{dtype}"
    errors = []
    for number, prompt in enumerate(prompts):
      logits = reference_run.run(model, prompt.ids).float().numpy()
      self._add(f"{prefix}_{number}", "F32", logits)
      difference = np.linalg.norm(logits.astype(np.float64) - oracle[number])
      errors.append(float(difference / np.linalg.norm(oracle[number])))
    return errors

  def _add(self, name, dtype, values):
    self.tensors.append(from_array(name, dtype, np.asarray(values)))


def _inputs(path):
  tensors = {tensor.name: tensor for tensor in read_file(path)}
  prompts = []
  while f"input_ids_{len(prompts)}" in tensors:
    tensor = tensors[f"input_ids_{len(prompts)}"]
    if tensor.dtype != "I64" or len(tensor.shape) != 1 or tensor.shape[0] == 0:
      raise ExportError(path, f"{tensor.name} is {tensor.dtype} {list(tensor.shape)}",
                        expected="I64 [T]")
    prompts.append(tensor.load().tolist())
  if not prompts:
    raise ExportError(path, "holds no input_ids_0", expected="an expected.safetensors")
  return prompts


def _eos_ids(folder, settings) -> List[int]:
  """Returns the EOS ids of generation_config.json, or of config.json."""
  value: Optional[object] = settings.get("eos_token_id")
  path = folder / "generation_config.json"
  if path.is_file():
    value = strict_json.read_object(path).get("eos_token_id", value)
  return [token for token in (value if isinstance(value, list) else [value]) if token is not None]


def _first_line(error):
  return str(error).strip().split("\n")[0][:200]

"""Makes whole parity fixtures: checkpoint, expected outputs, entry of meta.json."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import List

import numpy as np

from sluice_export import gguf_writer, hf_folder, staging, strict_json
from sluice_export.errors import ExportError
from sluice_export.fixtures import RECIPES
from sluice_export.reference.decoder import Decoder
from sluice_export.safetensors_io import write_file
from sluice_export.tensor import from_array

GREEDY_STEPS = 16
# A fixture is refused if float32 could change a choice: neither a greedy step nor an expert may
# hang on less than this.
MIN_GAP = 0.008
_NOISE = 1e-5
_LOGIT_STD = (0.9, 1.75)
_FEWEST_DIFFERENT = 8
_MAX_SEEDS = 100
_META = "meta.json"


@dataclass
class FixtureReport:
  """What was made.

  Attributes:
    folder: the fixture.
    meta: its entry of meta.json.
  """

  folder: Path
  meta: dict

  def lines(self):
    """Returns the report as lines of text."""
    meta = self.meta
    size = sum(path.stat().st_size for path in self.folder.iterdir())
    return [f"{self.folder}: {size / 1e6:.2f} MB, seed {meta['weight_seed']}, "
            f"prompts of {', '.join(map(str, meta['prompt_lengths']))} tokens, "
            f"smallest top-1 gap {meta['greedy_min_gap']}",
            *(f"  {name}: {error}" for name, error in meta["sensitivity"].items())]


def make_fixtures(parent, names, force=False):
  """Makes fixtures by their recipes.

  Args:
    parent: existing folder; each fixture becomes a folder in it and an entry of its meta.json.
    names: keys of RECIPES.
    force: replace fixtures that are there.

  Returns:
    list of FixtureReport.

  Raises:
    ExportError: an unknown name, or an output that is there and not to be replaced.
  """
  parent = Path(parent)
  for name in names:
    if name not in RECIPES:
      raise ExportError("--fixture", name, expected=", ".join(sorted(RECIPES)))
    staging.check_free(parent / name, force)
  return [_make(parent, RECIPES[name], force) for name in names]


@dataclass
class _Prompt:
  ids: List[int]
  greedy: List[int]
  gaps: List[float]

  def whole(self):
    """Returns the ids with all that follows but the last."""
    return self.ids + self.greedy[:-1]


def _make(parent, recipe, force):
  prompts_ids = _prompts(recipe)
  rejected = {}
  for attempt in range(1, _MAX_SEEDS + 1):
    seed = 1000 * recipe.prompt_seed + attempt
    tensors = recipe.draw(np.random.default_rng(seed))
    decoder = Decoder(recipe.config, tensors)
    prompts = [_continue(decoder, ids) for ids in prompts_ids]
    reason = _unfit(recipe, tensors, decoder, prompts)
    if reason is None:
      break
    rejected[reason] = rejected.get(reason, 0) + 1
  else:
    raise ExportError(recipe.name, f"no seed of {_MAX_SEEDS} is fit: {rejected}")
  expected, meta = _expected(recipe, tensors, decoder, prompts)
  meta = {"model_type": recipe.config["model_type"], "weight_seed": seed,
          "prompt_seed": recipe.prompt_seed, "seeds_rejected": rejected,
          "stored_dtype": recipe.stored_dtype, "shards": 1,
          "config_style": "legacy" if recipe.to_gguf is None else "gguf",
          "made_by": f"sluice-export golden --fixture {recipe.name}", **meta}
  folder = parent / recipe.name
  with staging.staged_folder(folder, force) as stage:
    if recipe.to_gguf is None:
      hf_folder.write(stage, recipe.config, tensors, 1 << 30, texts={
          "generation_config.json": hf_folder.to_json(recipe.generation_config())})
    else:
      with open(stage / "model.gguf", "wb") as file:
        gguf_writer.write(file, *recipe.to_gguf(recipe.config, tensors))
    with open(stage / "expected.safetensors", "wb") as file:
      write_file(file, expected)
  _write_meta(parent / _META, recipe.name, meta)
  return FixtureReport(folder, meta)


def _prompts(recipe):
  """Returns the prompts: random ids, none of them special."""
  random = np.random.default_rng(recipe.prompt_seed)
  first = max([*recipe.eos_ids(), recipe.config["bos_token_id"],
               recipe.config.get("pad_token_id") or 0]) + 1
  return [random.integers(first, recipe.config["vocab_size"], size=length).tolist()
          for length in recipe.prompt_lengths]


def _continue(decoder, ids):
  path, gaps = [], []
  for _ in range(GREEDY_STEPS):
    logits = decoder.run(ids + path)[-1]
    second, first = np.argsort(logits)[-2:]
    path.append(int(first))
    gaps.append(float(logits[first] - logits[second]))
  return _Prompt(ids, path, gaps)


def _unfit(recipe, tensors, decoder, prompts):
  """Returns why these weights make no good fixture, or None."""
  if any(set(prompt.greedy) & set(recipe.eos_ids()) for prompt in prompts):
    return "EOS on the greedy path"
  if min(min(prompt.gaps) for prompt in prompts) < MIN_GAP:
    return "small top-1 gap"
  if any(len(set(prompt.greedy)) < _FEWEST_DIFFERENT for prompt in prompts):
    return "dull greedy path"
  traces = [decoder.trace(prompt.whole()) for prompt in prompts]
  if not _LOGIT_STD[0] <= np.std(np.concatenate([t.logits for t in traces])) <= _LOGIT_STD[1]:
    return "logits too flat or too steep"
  experts = recipe.config.get("n_routed_experts", recipe.config.get("num_local_experts"))
  for layer in traces[0].routers:
    if len(np.unique(np.concatenate([t.routers[layer][0] for t in traces]))) < experts:
      return "an expert without tokens"
  random = np.random.default_rng(recipe.prompt_seed)
  disturbed = Decoder(recipe.config, tensors, change=lambda values: values * (
      1 + random.standard_normal(values.shape) * _NOISE))
  for prompt, trace in zip(prompts, traces):
    other = disturbed.trace(prompt.whole())
    start = len(prompt.ids) - 1
    if other.logits[start:].argmax(axis=-1).tolist() != prompt.greedy:
      return "greedy path changed by noise"
    for layer, (chosen, _) in trace.routers.items():
      if not np.array_equal(np.sort(chosen), np.sort(other.routers[layer][0])):
        return "routing changed by noise"
  return None


def _expected(recipe, tensors, decoder, prompts):
  """Returns (tensors of expected.safetensors, their part of meta.json)."""
  found = []

  def add(name, dtype, values):
    found.append(from_array(name, dtype, np.asarray(values)))

  single = Decoder(recipe.config, tensors, np.float32)
  oracle, errors, largest = [], [], []
  for number, prompt in enumerate(prompts):
    trace = decoder.trace(prompt.ids)
    oracle.append(trace.logits)
    low = single.run(prompt.ids)
    add(f"input_ids_{number}", "I64", prompt.ids)
    add(f"logits64_{number}", "F32", trace.logits)
    add(f"logits_{number}", "F32", low)
    add(f"greedy_{number}", "I64", prompt.greedy)
    add(f"greedy_gap_{number}", "F32", prompt.gaps)
    errors.append(_relative(low, trace.logits))
    largest.append(float(np.max(np.abs(low - trace.logits))))
    if number == 0:
      add("final_norm_0", "F32", trace.final_norm)
      for layer, hidden in trace.hidden.items():
        add(f"hidden_0_{layer}", "F32", hidden)
      for layer, (chosen, factors) in trace.routers.items():
        add(f"router_idx_0_{layer}", "I64", chosen)
        add(f"router_weight_0_{layer}", "F32", factors)
  longest = max(range(len(prompts)), key=lambda number: len(prompts[number].ids))
  sensitivity = {}
  for name, leave_out in recipe.sensitivities.items():
    other = Decoder(*leave_out(recipe.config, tensors)).run(prompts[longest].ids)
    sensitivity[name] = _rounded(_relative(other, oracle[longest]))
  return found, {
      "prompt_lengths": [len(prompt.ids) for prompt in prompts],
      "logit_std": round(float(np.std(np.concatenate(oracle))), 3),
      "greedy_min_gap": round(min(min(prompt.gaps) for prompt in prompts), 5),
      "float32_vs_float64": {"relative_l2": list(map(_rounded, errors)),
                             "max_abs": list(map(_rounded, largest))},
      "sensitivity": sensitivity,
  }


def _relative(values, oracle):
  return float(np.linalg.norm(values - oracle) / np.linalg.norm(oracle))


def _rounded(value):
  return float(f"{value:.2g}")


def _write_meta(path, name, entry):
  """Adds or replaces one fixture's entry, leaving the others as they are."""
  meta = strict_json.read_object(path) if path.is_file() else {}
  meta.setdefault("fixtures", {})[name] = entry
  with staging.staged_file(path, force=True) as file:
    file.write((json.dumps(meta, indent=1) + "\n").encode())

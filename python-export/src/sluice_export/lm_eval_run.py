"""Runs lm-eval on a checkpoint and keeps of its log what another engine must answer."""

import gzip
import hashlib
import io
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sluice_export import staging
from sluice_export.errors import ExportError
from sluice_export.optional import require

VERSION = "0.4.13"
NEAR = 1e-5

_REMEDY = "run: pip install 'sluice-export[lm-eval]'"
_HASH_DIGITS = 16
_BLOCK = 1 << 20


@dataclass
class LmEvalReport:
  """What was written.

  Attributes:
    out: the file.
    task: the task.
    items: lines with an answer.
    totals: by task or group, then by `metric,filter`, what lm-eval printed.
    near: task and item of the choices whose two likeliest are nearer than NEAR.
  """

  out: Path
  task: str
  items: int
  totals: dict
  near: list

  def lines(self):
    """Returns the report as lines of text."""
    lines = [f"{self.out}: {self.items} items, {os.path.getsize(self.out) / 1e3:.1f} kB"]
    for metric, value in self.totals.get(self.task, {}).items():
      lines.append(f"  {metric}: {value}")
    lines.extend(f"  the two likeliest choices are nearer than {NEAR:g}: {task}, item {item}"
                 for task, item in self.near)
    return lines


def lm_eval(model, out, data, task, shots=None, first=None, sample=None, seed=0, batch_size=1,
            chat=False, force=False):
  """Runs one task with lm-eval in float32 on the CPU and writes its answers.

  The file is gzipped JSON lines: first what it was made with, then a line an item, then lm-eval's
  totals. Nothing of the data set is in it but hashes of prompts.

  Args:
    model: Hugging Face folder with a tokenizer.
    out: file to write.
    data: folder of data sets, as `sluice eval fetch` leaves it.
    task: one of lm_eval_tasks.TASKS.
    shots: worked examples; None for the task's own number.
    first, sample, seed: which items, see lm_eval_tasks.LocalTasks.
    batch_size: of lm-eval.
    chat: whether prompts become conversations by the model's template, examples turns of it.
    force: replace an existing file.

  Raises:
    MissingDependencyError: lm_eval is not installed.
    ExportError: another version of it, or a model, task or data that it cannot run.
  """
  model, out, data = Path(model), Path(out), Path(data)
  if not (model / "config.json").is_file():
    raise ExportError(model, "no config.json", expected="a Hugging Face folder",
                      remedy="convert a GGUF file first: sluice-export convert MODEL FOLDER")
  if batch_size < 1:
    raise ExportError("--batch-size", batch_size, expected="at least 1")
  staging.check_free(out, force)
  with tempfile.TemporaryDirectory(prefix="sluice-lm-eval-") as name:
    folder = Path(name)
    # Never a download, and nothing left behind.
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1",
                      HF_DATASETS_CACHE=str(folder / "cache"))
    package = require("lm_eval", "lm-eval", _REMEDY)
    from importlib.metadata import version
    if version("lm_eval") != VERSION:
      raise ExportError("lm_eval", version("lm_eval"), expected=VERSION, remedy=_REMEDY)
    from sluice_export.lm_eval_tasks import LocalTasks
    files = folder / "tasks"
    files.mkdir()
    tasks = LocalTasks(Path(package.__file__).parent / "tasks", data, files, task, first=first,
                       sample=sample, seed=seed)
    results = _evaluate(package, model, tasks, files, shots, batch_size, chat)
  entries = compact(results["samples"])
  totals = _totals(results)
  near = [(entry["task"], entry["item"]) for entry in entries if _margin(entry) < NEAR]
  head = {
      "lm_eval": VERSION, "transformers": version("transformers"), "torch": version("torch"),
      "dtype": "float32", "task": task, "shots": _shots(results, tasks), "chat": chat,
      "sample": sample,
      "seed": seed if sample is not None else None, "items": len(entries),
      "weights": weights_hash(model), "near": near,
  }
  write(out, head, entries, totals, force)
  return LmEvalReport(out, task, len(entries), totals, near)


def _evaluate(package, model, tasks, files, shots, batch_size, chat):
  from lm_eval.models.huggingface import HFLM
  from lm_eval.tasks import TaskManager
  engine = HFLM(pretrained=str(model), dtype="float32", softmax_dtype="float32", device="cpu",
                batch_size=batch_size)
  return package.simple_evaluate(
      model=engine, tasks=[tasks.name], num_fewshot=shots, samples=tasks.items, log_samples=True,
      apply_chat_template=chat, fewshot_as_multiturn=chat,
      task_manager=TaskManager(include_path=str(files), include_defaults=False))


def compact(samples):
  """Returns of lm-eval's logged samples what an engine must answer, in the order of the items.

  Args:
    samples: by leaf task lm-eval's records, one for each filter of an item.

  Returns:
    Dictionaries with `task`, `item`, `prompt` (the first digits of its SHA-256), `scores` by
    `metric,filter`, and `choices` as pairs of log-probability and greediness, or `text` and what
    each filter took out of it.
  """
  entries = []
  for task, records in samples.items():
    found = {}
    for record in sorted(records, key=lambda record: record["doc_id"]):
      first = record["doc_id"] not in found
      entry = found.setdefault(record["doc_id"], {
          "task": task, "item": record["doc_id"], "prompt": record["prompt_hash"][:_HASH_DIGITS]})
      if len(record["resps"]) > 1:
        entry["choices"] = [[round(float(answer[0][0]), 7), _true(answer[0][1])]
                            for answer in record["resps"]]
      else:
        if first:
          entry["text"] = record["resps"][0][0]
        if record["filter"] != "none":
          entry.setdefault("filtered", {})[record["filter"]] = record["filtered_resps"][0]
      for metric in record["metrics"]:
        if metric != "bypass":
          entry.setdefault("scores", {})[f"{metric},{record['filter']}"] = float(record[metric])
    entries.extend(found.values())
  return entries


def _true(value):
  # A log that went through JSON holds its name.
  return value in (True, "True")


def _margin(entry):
  best = sorted((choice[0] for choice in entry.get("choices", ())), reverse=True)
  return best[0] - best[1] if best else float("inf")


def _totals(results):
  return {task: {key: value for key, value in metrics.items()
                 if "," in key and not key.startswith("bypass")}
          for task, metrics in {**results["results"], **results.get("groups", {})}.items()}


def _shots(results, tasks):
  return results["n-shot"][next(iter(tasks.items))]


def weights_hash(model):
  """Returns the SHA-256 of a folder's weight files, one after the other in the order of names."""
  digest = hashlib.sha256()
  for path in sorted(Path(model).glob("*.safetensors")):
    with open(path, "rb") as file:
      for block in iter(lambda: file.read(_BLOCK), b""):
        digest.update(block)
  return digest.hexdigest()


def write(out, head, entries, totals, force):
  """Writes the file; the same bytes for the same arguments."""
  text = "".join(json.dumps(line, ensure_ascii=False, default=float) + "\n"
                 for line in (head, *entries, {"totals": totals}))
  packed = io.BytesIO()
  with gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=0) as file:
    file.write(text.encode("utf-8"))
  with staging.staged_file(out, force) as partial:
    partial.write(packed.getvalue())

"""lm-eval's own task files, pointed at data sets in a folder instead of a hub."""

import csv
import gzip
import json
import random

from sluice_export.errors import ExportError

TASKS = ("mmlu", "mmlu_continuation", "gsm8k", "gsm8k_cot", "humaneval", "humaneval_instruct")

_LETTERS = "ABCD"
# Folder, template, end of a subject's task, and how a subject is announced that is one's own.
_CHOSEN = {
    "mmlu": ("mmlu/default", "_default_template_yaml", "",
             "The following are multiple choice questions (with answers) about {}.\n\n"),
    "mmlu_continuation": ("mmlu/continuation", "_continuation_template_yaml", "_continuation",
                          "The following are questions (with answers) about {}.\n\n"),
}
_GENERATED = {
    "gsm8k": ("gsm8k/gsm8k.yaml", {"test": "gsm8k/test.jsonl", "train": "gsm8k/train.jsonl"}),
    "gsm8k_cot": ("gsm8k/gsm8k-cot.yaml", {"test": "gsm8k/test.jsonl"}),
    "humaneval": ("humaneval/humaneval.yaml", {"test": "humaneval/HumanEval.jsonl"}),
    "humaneval_instruct": ("humaneval/humaneval_instruct.yaml",
                           {"test": "humaneval/HumanEval.jsonl"}),
}


class LocalTasks:
  """Task files in a folder of their own, to be found by lm-eval's `include_path`.

  Attributes:
    name: the task or group to run.
    items: by leaf task the indices of the items to run, in ascending order.
  """

  def __init__(self, package, data, out, name, first=None, sample=None, seed=0):
    """Writes the task files of one task.

    Args:
      package: lm-eval's folder `tasks`.
      data: folder of data sets as their authors publish them.
      out: empty folder for task files and data.
      name: one of TASKS.
      first: items of each leaf task, from the first; None for all.
      sample: items drawn from all of the task's instead; None for no drawing.
      seed: of the drawing.

    Raises:
      ExportError: unknown task, data that is missing or malformed, or a drawing of items whose
        worked examples depend on the items before them.
    """
    if name not in TASKS:
      raise ExportError("--task", name, expected=", ".join(TASKS))
    for option, value in (("--first", first), ("--sample", sample)):
      if value is not None and value < 1:
        raise ExportError(option, value, expected="at least 1")
    self.name = name
    self._package, self._data, self._out = package, data, out
    sizes = self._mmlu() if name in _CHOSEN else self._generated()
    if sample is None:
      self.items = {task: list(range(size if first is None else min(first, size)))
                    for task, size in sizes.items()}
    else:
      self.items = _drawn(name, sizes, sample, seed)
    if name in _CHOSEN:
      group = self._read(_CHOSEN[name][0] + "/_mmlu.yaml")
      self._write("group.yaml", {"group": name, "task": list(self.items),
                                 "aggregate_metric_list": group["aggregate_metric_list"]})

  def _mmlu(self):
    folder, template, ending, announced = _CHOSEN[self.name]
    template = self._read(f"{folder}/{template}")
    suffix = "_test.csv"
    subjects = sorted(path.name[:-len(suffix)] for path in (self._data / "mmlu" / "test").glob(
        "*" + suffix))
    if not subjects:
      raise ExportError(self._data / "mmlu" / "test", "no tables",
                        expected="SUBJECT_test.csv", remedy="sluice eval fetch mmlu")
    sizes = {}
    for subject in subjects:
      task = "mmlu_" + subject + ending
      known = self._package / folder / f"mmlu_{subject}.yaml"
      # A subject of one's own is asked for as the others are.
      description = (_yaml(known)["description"] if known.is_file() else
                     announced.format(subject.replace("_", " ")))
      files = {}
      for split in ("dev", "test"):
        rows = _table(self._data / "mmlu" / split / f"{subject}_{split}.csv")
        files[split] = self._dump(f"{task}_{split}", rows)
        sizes[task] = len(rows)
      self._write(task + ".yaml", {**template, "task": task, "description": description,
                                   "dataset_path": "json",
                                   "dataset_kwargs": {"data_files": files}})
    return sizes

  def _generated(self):
    file, sets = _GENERATED[self.name]
    task = self._read(file)
    if "include" in task:
      base = self._read(f"{file.split('/')[0]}/{task.pop('include')}")
      task = {**base, **task}
    task.pop("dataset_name", None)
    task["dataset_path"] = "json"
    files, sizes = {}, {}
    for split, path in sets.items():
      rows = _lines(self._data / path)
      files[split] = self._dump(split, rows)
      if split == "test":
        sizes[self.name] = len(rows)
    task["dataset_kwargs"] = {"data_files": files}
    if "unsafe_code" in task:
      # Programs are not run here, so the answers are logged and not scored.
      task["metric_list"] = [{"metric": "bypass"}]
      for key in ("unsafe_code", "filter_list"):
        task.pop(key)
    self._write(self.name + ".yaml", task)
    return sizes

  def _read(self, file):
    return _yaml(self._package / file)

  def _dump(self, name, rows):
    path = self._out / (name + ".jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)

  def _write(self, name, value):
    import yaml
    (self._out / name).write_text(yaml.safe_dump(value, sort_keys=False), encoding="utf-8")


def _drawn(name, sizes, sample, seed):
  if name == "gsm8k":
    raise ExportError("--sample", sample, expected="--first for gsm8k, whose worked examples are "
                      "drawn in the order of the items that are run")
  every = [(task, item) for task, size in sizes.items() for item in range(size)]
  if sample > len(every):
    raise ExportError("--sample", sample, expected=f"at most {len(every)}")
  items = {}
  for task, item in sorted(random.Random(seed).sample(every, sample)):
    items.setdefault(task, []).append(item)
  return items


def _yaml(path):
  import yaml

  class Loader(yaml.SafeLoader):
    """Reads functions of a task as their names; those that matter are replaced."""

  Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))
  with open(path, encoding="utf-8") as file:
    return yaml.load(file, Loader)


def _table(path):
  if not path.is_file():
    raise ExportError(path, "is not there", remedy="sluice eval fetch mmlu")
  rows = []
  with open(path, encoding="utf-8", newline="") as file:
    for number, row in enumerate(csv.reader(file), 1):
      if len(row) != 6 or row[5] not in _LETTERS:
        raise ExportError(f"{path}, row {number}", row,
                          expected="a question, four choices and one of A, B, C, D")
      rows.append({"question": row[0], "choices": row[1:5], "answer": _LETTERS.index(row[5])})
  return rows


def _lines(path):
  packed = path.with_name(path.name + ".gz")
  if path.is_file():
    text = path.read_text(encoding="utf-8")
  elif packed.is_file():
    text = gzip.decompress(packed.read_bytes()).decode("utf-8")
  else:
    raise ExportError(path, "is not there", remedy="sluice eval fetch all")
  rows = []
  # Not splitlines(), to which other characters end a line too.
  for number, line in enumerate(text.split("\n"), 1):
    if line.strip():
      try:
        rows.append(json.loads(line))
      except ValueError as error:
        raise ExportError(f"{path}, line {number}", error, expected="one JSON object") from error
  return rows

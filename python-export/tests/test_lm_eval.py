"""What is kept of lm-eval's log, and that lm-eval gives it again."""

import gzip
import importlib.util
import json
import pathlib
import unittest

from tests.support import FolderTest, run_cli
from sluice_export import lm_eval_run, lm_eval_tasks

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "eval"
OWN = ROOT / "java" / "sluice-eval" / "src" / "test" / "resources" / "data"
HAS_LM_EVAL = all(importlib.util.find_spec(name) for name in ("lm_eval", "torch", "transformers"))


def lines(path):
  return [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]


class CompactTest(unittest.TestCase):

  def test_choices_in_order_of_items(self):
    def record(item, best):
      return {"doc_id": item, "prompt_hash": f"{item}" * 64, "filter": "none", "metrics": ["acc"],
              "acc": 1.0, "filtered_resps": [], "resps": [
                  [[-1.00000004 if choice == best else -2.0, choice == best]]
                  for choice in range(4)]}
    entries = lm_eval_run.compact({"mmlu_a": [record(3, 1), record(0, 2)]})
    self.assertEqual(entries[0], {
        "task": "mmlu_a", "item": 0, "prompt": "0" * 16, "scores": {"acc,none": 1.0},
        "choices": [[-2.0, False], [-2.0, False], [-1.0, True], [-2.0, False]]})
    self.assertEqual(entries[1]["item"], 3)

  def test_filters_of_an_item_are_one_line(self):
    def record(name, taken, score):
      return {"doc_id": 0, "prompt_hash": "ab" * 32, "filter": name, "resps": [["It is 7."]],
              "filtered_resps": [taken], "metrics": ["exact_match"], "exact_match": score}
    entries = lm_eval_run.compact(
        {"gsm8k": [record("strict-match", "[invalid]", 0.0), record("flexible-extract", "7", 1.0)]})
    self.assertEqual(entries, [{
        "task": "gsm8k", "item": 0, "prompt": "ab" * 8, "text": "It is 7.",
        "filtered": {"strict-match": "[invalid]", "flexible-extract": "7"},
        "scores": {"exact_match,strict-match": 0.0, "exact_match,flexible-extract": 1.0}}])

  def test_answers_that_are_not_scored(self):
    entries = lm_eval_run.compact({"humaneval": [{
        "doc_id": 5, "prompt_hash": "cd" * 32, "filter": "none", "resps": [["  return 1"]],
        "filtered_resps": ["  return 1"], "metrics": ["bypass"], "bypass": 999}]})
    self.assertEqual(entries, [
        {"task": "humaneval", "item": 5, "prompt": "cd" * 8, "text": "  return 1"}])


class CommittedTest(unittest.TestCase):

  def test_checkpoints_are_those_that_answered(self):
    for name in ("deepseek_v2", "llama"):
      weights = lm_eval_run.weights_hash(GOLDEN / name)
      files = sorted(GOLDEN.glob(name + "-*.jsonl.gz"))
      self.assertEqual(len(files), 21)
      for file in files:
        head, *entries, last = lines(file)
        self.assertEqual((head["weights"], head["lm_eval"], head["items"]),
                         (weights, lm_eval_run.VERSION, len(entries)), file.name)
        self.assertEqual(list(last), ["totals"])


class RefusalTest(FolderTest):

  def test_bad_requests_are_named(self):
    make = lambda name, **options: lm_eval_tasks.LocalTasks(
        self.folder, OWN, self.folder, name, **options)
    self.assert_refused(("--task: arc", "mmlu"), make, "arc")
    self.assert_refused("--first: 0", make, "mmlu", first=0)

  def test_drawings(self):
    draw = lm_eval_tasks._drawn
    self.assertEqual(draw("mmlu", {"a": 2, "b": 1}, 3, 0), {"a": [0, 1], "b": [0]})
    self.assertEqual(draw("mmlu", {"a": 50}, 5, 7), draw("mmlu", {"a": 50}, 5, 7))
    self.assert_refused("worked examples", draw, "gsm8k", {"gsm8k": 9}, 3, 0)
    self.assert_refused("at most 9", draw, "humaneval", {"humaneval": 9}, 10, 0)

  def test_malformed_data_names_its_line(self):
    table = self.folder / "x_test.csv"
    table.write_text("q,a,b,c,d,A\nq,a,b,c,d,E\n")
    self.assert_refused("row 2", lm_eval_tasks._table, table)
    text = self.folder / "x.jsonl"
    text.write_text('{"a": 1}\n\n{"a": \n')
    self.assert_refused("line 3", lm_eval_tasks._lines, text)
    self.assert_refused("is not there", lm_eval_tasks._lines, self.folder / "absent")

  @unittest.skipIf(HAS_LM_EVAL, "lm_eval is installed")
  def test_missing_package_is_exit_code_2(self):
    code, _, err = run_cli("lm-eval", GOLDEN / "llama", self.folder / "x.gz", "--data", OWN,
                           "--task", "mmlu")
    self.assertEqual(code, 2)
    self.assertIn("pip install", err)

  def test_a_folder_without_a_model_is_refused(self):
    code, _, err = run_cli("lm-eval", self.folder, self.folder / "x.gz", "--data", OWN, "--task",
                           "mmlu")
    self.assertEqual(code, 1)
    self.assertIn("no config.json", err)


@unittest.skipUnless(HAS_LM_EVAL, "needs lm_eval, torch and transformers")
class AgainTest(FolderTest):

  def test_lm_eval_answers_as_committed(self):
    for task, options in (("mmlu", ["--num-fewshot", 2]), ("gsm8k", [])):
      with self.subTest(task):
        out = self.folder / (task + ".gz")
        code, text, _ = run_cli("lm-eval", GOLDEN / "llama", out, "--data", OWN, "--task", task,
                                *options)
        self.assertEqual(code, 0)
        self.assertIn("2 items", text)
        expected, written = lines(GOLDEN / f"llama-own-{task}.jsonl.gz"), lines(out)
        for ours, theirs in zip(expected[1:-1], written[1:-1]):
          for (one, greedy), (other, also) in zip(ours.pop("choices", ()),
                                                  theirs.pop("choices", ())):
            self.assertAlmostEqual(one, other, delta=1e-4)
            self.assertEqual(greedy, also)
          self.assertEqual(ours, theirs)
        self.assertEqual(expected[-1], written[-1])


if __name__ == "__main__":
  unittest.main()

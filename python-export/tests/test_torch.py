"""Pickles and golden files; run where torch and transformers are installed."""

import importlib.util
import json
import os
import pickle
import unittest

import numpy as np
from safetensors.numpy import load_file

from tests.support import DENSE, FIXTURES, FolderTest, copy_fixture, qwen3_checkpoint, run_cli
from sluice_export import safetensors_io
from sluice_export.convert import convert

HAS_TORCH = importlib.util.find_spec("torch") is not None
HAS_TRANSFORMERS = HAS_TORCH and importlib.util.find_spec("transformers") is not None


class _Evil:

  def __reduce__(self):
    return (os.mkdir, ("pwned",))


@unittest.skipUnless(HAS_TORCH, "torch is not installed")
class PickleTest(FolderTest):

  def setUp(self):
    super().setUp()
    import torch
    self.torch = torch
    self.source = copy_fixture("llama3_rope", self.folder / "source")
    self.weights = {}
    for tensor in safetensors_io.read_folder(self.source):
      bits = torch.from_numpy(tensor.load().view(np.int16).copy())
      self.weights[tensor.name] = bits.view(torch.bfloat16)
    self.expected = (self.source / "model.safetensors").read_bytes()
    os.remove(self.source / "model.safetensors")

  def assert_converts(self, source=None):
    convert(source or self.source, self.folder / "out")
    before = {t.name: t.load() for t in safetensors_io.read_folder(self.folder / "out")}
    self.assertEqual(set(before), set(self.weights))
    for name, values in before.items():
      expected = self.weights[name].view(self.torch.int16).numpy().view(np.uint16)
      np.testing.assert_array_equal(values, expected)

  def test_single(self):
    self.torch.save(self.weights, self.source / "pytorch_model.bin")
    self.assert_converts()

  def test_old_layout(self):
    self.torch.save(self.weights, self.source / "pytorch_model.bin",
                    _use_new_zipfile_serialization=False)
    self.assert_converts()

  def test_pt_file_with_state_dict_and_file_as_source(self):
    self.torch.save({"state_dict": self.weights, "epoch": 3}, self.source / "best.pt")
    self.assert_converts(self.source / "best.pt")

  def test_shards(self):
    names = sorted(self.weights)
    shards = {"pytorch_model-1.bin": names[::2], "pytorch_model-2.bin": names[1::2]}
    for shard, part in shards.items():
      self.torch.save({name: self.weights[name] for name in part}, self.source / shard)
    weight_map = {name: shard for shard, part in shards.items() for name in part}
    (self.source / "pytorch_model.bin.index.json").write_text(json.dumps(
        {"weight_map": weight_map}))
    self.assert_converts()

  def test_views_that_are_not_contiguous(self):
    self.weights = {name: w.t().contiguous().t() if w.dim() == 2 else w
                    for name, w in self.weights.items()}
    self.torch.save(self.weights, self.source / "pytorch_model.bin")
    self.weights = {name: w.contiguous() for name, w in self.weights.items()}
    self.assert_converts()

  def test_code_in_a_pickle_does_not_run(self):
    here = os.getcwd()
    os.chdir(self.folder)
    self.addCleanup(os.chdir, here)
    path = self.source / "pytorch_model.bin"
    for write in (lambda: self.torch.save({"w": _Evil()}, path),
                  lambda: path.write_bytes(pickle.dumps({"w": _Evil()}))):
      write()
      self.assert_refused(("weights-only", "safetensors"), convert, self.source,
                          self.folder / "out")
      self.assertFalse((self.folder / "pwned").exists())

  def test_bad_pickles(self):
    path = self.source / "pytorch_model.bin"
    path.write_bytes(b"not a pickle")
    self.assert_refused("weights-only", convert, self.source, self.folder / "out")
    for value, word in (([1, 2], "holds a list"), ({}, "tensors by name"), ({"w": 3}, "w is a int"),
                        ({"w": self.torch.zeros(2).to_sparse()}, "sparse")):
      self.torch.save(value, path)
      self.assert_refused(word, convert, self.source, self.folder / "out")
    self.torch.save(self.weights, path)
    path.write_bytes(path.read_bytes()[:5000])
    self.assert_refused("weights-only", convert, self.source, self.folder / "out")


@unittest.skipUnless(HAS_TRANSFORMERS, "transformers is not installed")
class GoldenTest(FolderTest):

  def test_fixtures_come_out_as_committed(self):
    for name in DENSE + ("mixtral", "qwen3_moe", "deepseek_v3", "gpt_oss"):
      with self.subTest(name):
        out = self.folder / f"{name}.safetensors"
        expected = load_file(FIXTURES / name / "expected.safetensors")
        dtype = "bfloat16" if "logits_bfloat16_0" in expected else "float32"
        code, text, err = run_cli("golden", FIXTURES / name, "--out", out, "--dtype", dtype,
                                  "--inputs-from", FIXTURES / name / "expected.safetensors")
        self.assertEqual(code, 0, err)
        written = load_file(out)
        self.assertEqual(set(written), set(expected))
        for key, values in expected.items():
          self.assertEqual((written[key].shape, written[key].dtype), (values.shape, values.dtype))
          if values.dtype.kind == "i":
            np.testing.assert_array_equal(written[key], values, key)
            continue
          bound = 5e-2 if "bfloat16" in key else 2e-5 if key.startswith("logits_") else 1e-6
          error = (np.linalg.norm(written[key].astype("f8") - values)
                   / np.linalg.norm(values.astype("f8")))
          self.assertLess(error, bound, key)
        self.assertIn("float32 against float64", text)

  def test_own_prompts(self):
    source = qwen3_checkpoint(self.folder / "source")
    code, text, err = run_cli("golden", source, "--prompts", 2)
    self.assertEqual(code, 0, err)
    written = load_file(source / "expected.safetensors")
    self.assertEqual(sum(name.startswith("input_ids_") for name in written), 2)
    self.assertNotEqual(len(written["input_ids_0"]), len(written["input_ids_1"]))
    for number in range(2):
      self.assertEqual(written[f"greedy_{number}"].shape, (16,))
      self.assertFalse(set(written[f"greedy_{number}"]) & {2, 3})
      self.assertGreaterEqual(written[f"greedy_gap_{number}"].min(), 0.004)
      logits = written[f"logits64_{number}"]
      self.assertEqual(logits.shape, (len(written[f"input_ids_{number}"]), 48))
      self.assertEqual(int(logits[-1].argmax()), int(written[f"greedy_{number}"][0]))
    self.assertEqual(run_cli("golden", source)[0], 1)  # exists

  def test_missing_weights_are_not_made_up(self):
    source = copy_fixture("llama", self.folder / "source")
    tensors = [t for t in safetensors_io.read_folder(source) if "layers.1.mlp.up" not in t.name]
    with open(source / "cut.safetensors", "wb") as file:
      safetensors_io.write_file(file, tensors, {"format": "pt"})
    os.replace(source / "cut.safetensors", source / "model.safetensors")
    code, _, err = run_cli("golden", source)
    self.assertEqual(code, 1)
    self.assertIn("missing_keys: model.layers.1.mlp.up_proj.weight", err)
    self.assertFalse((source / "expected.safetensors").exists())

  def test_gap_that_no_prompt_reaches(self):
    code, _, err = run_cli("golden", FIXTURES / "llama", "--min-gap", 0.999,
                           "--out", self.folder / "x.safetensors")
    self.assertEqual(code, 1)
    self.assertIn("lower --min-gap", err)


if __name__ == "__main__":
  unittest.main()

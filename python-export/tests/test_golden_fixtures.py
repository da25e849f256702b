"""Fixtures made by recipe: reproducible, as committed, and confirmed by transformers."""

import importlib.util
import json
import shutil
import unittest

import numpy as np

from tests.support import FIXTURES, FolderTest, run_cli
from tests.test_reference import read, relative
from sluice_export import fixture_comparison, float8, hf_folder, safetensors_io
from sluice_export.fixtures import RECIPES
from sluice_export.gguf_reader import GgufFile
from sluice_export.reference.decoder import Decoder
from sluice_export.reference.weights import Weights
from sluice_export.tensor import from_array

HAS_TRANSFORMERS = all(importlib.util.find_spec(name) for name in ("torch", "transformers"))


# The reference reads folders; what a GGUF file holds is compared with the folder's.
SAME_MODEL = {"gpt_oss_gguf": "gpt_oss_mxfp4"}


def _checkpoint(name):
  """Returns (config.json's object, tensors) of a fixture."""
  settings = json.loads((FIXTURES / name / "config.json").read_text())
  return settings, safetensors_io.read_folder(FIXTURES / name)


class RecipeTest(FolderTest):

  def test_fixtures_come_out_as_committed(self):
    code, text, err = run_cli("golden", self.folder, "--fixture", *RECIPES)
    self.assertEqual((code, err), (0, ""))
    meta = json.loads((self.folder / "meta.json").read_text())["fixtures"]
    committed = json.loads((FIXTURES / "meta.json").read_text())["fixtures"]
    self.assertEqual(set(meta), set(RECIPES))
    for name in RECIPES:
      with self.subTest(name):
        self.assertIn(f"{name}:", text)
        files = sorted(path.name for path in (FIXTURES / name).iterdir())
        self.assertEqual(sorted(path.name for path in (self.folder / name).iterdir()), files)
        for file in files:
          if file != "expected.safetensors":
            self.assertEqual((self.folder / name / file).read_bytes(),
                             (FIXTURES / name / file).read_bytes(), file)
        # Other processors sum in another order, which the last bit of a float32 may show.
        expected = read(FIXTURES / name / "expected.safetensors")
        written = read(self.folder / name / "expected.safetensors")
        self.assertEqual(list(written), list(expected))
        for key, values in expected.items():
          if values.dtype.kind == "i":
            np.testing.assert_array_equal(written[key], values, key)
          else:
            bound = 2e-5 if key.startswith("logits_") else 1e-7
            self.assertLess(relative(written[key], values), bound, key)
        for key in ("weight_seed", "prompt_lengths", "greedy_min_gap", "sensitivity"):
          self.assertEqual(meta[name][key], committed[name][key])

  def test_rerun_gives_the_same_bytes(self):
    for run in ("first", "second"):
      (self.folder / run).mkdir()
      self.assertEqual(run_cli("golden", self.folder / run, "--fixture", "deepseek_v3_fp8",
                               "gpt_oss_gguf")[0], 0)
    first = [path for path in (self.folder / "first").rglob("*") if path.is_file()]
    self.assertEqual(len(first), 7)
    for path in first:
      other = self.folder / "second" / path.relative_to(self.folder / "first")
      self.assertEqual(path.read_bytes(), other.read_bytes(), path.name)

  def test_what_a_fixture_promises(self):
    for name, recipe in RECIPES.items():
      with self.subTest(name):
        folder = FIXTURES / name
        expected = read(folder / "expected.safetensors")
        eos = set(recipe.eos_ids())
        decoder = Decoder(*_checkpoint(SAME_MODEL.get(name, name)))
        for number, length in enumerate(recipe.prompt_lengths):
          ids, greedy = expected[f"input_ids_{number}"], expected[f"greedy_{number}"]
          self.assertEqual(len(ids), length)
          self.assertFalse(eos & {*ids.tolist(), *greedy.tolist()})
          logits = np.sort(decoder.run([*ids, *greedy[:-1]]), axis=-1)[length - 1:]
          gaps = logits[:, -1] - logits[:, -2]
          self.assertGreaterEqual(gaps.min(), 0.008)
          np.testing.assert_allclose(gaps, expected[f"greedy_gap_{number}"], rtol=1e-5)
        self.assertLess(sum(path.stat().st_size for path in folder.iterdir()), 1.2e6)

  def test_sensitivities_are_felt(self):
    meta = json.loads((FIXTURES / "meta.json").read_text())["fixtures"]
    for name, recipe in RECIPES.items():
      self.assertEqual(set(meta[name]["sensitivity"]), set(recipe.sensitivities))
      for feature, error in meta[name]["sensitivity"].items():
        self.assertGreater(error, 0.05, f"{name}: {feature}")

  def test_edges_of_blocks_are_there(self):
    cut = {(tensor.shape[0] % 128 > 0 and tensor.shape[0] > 128,
            tensor.shape[1] % 128 > 0 and tensor.shape[1] > 128)
           for tensor in safetensors_io.read_folder(FIXTURES / "deepseek_v3_fp8")
           if tensor.dtype == "F8_E4M3"}
    self.assertEqual(cut, {(False, False), (False, True), (True, False), (True, True)})

  def test_gguf_holds_the_same_values(self):
    settings, tensors = _checkpoint("gpt_oss_mxfp4")
    weights = Weights(tensors, settings)
    file = GgufFile(FIXTURES / "gpt_oss_gguf" / "model.gguf")
    self.assertEqual(file.text("general.architecture"), "gpt-oss")
    self.assertEqual({key: file.count(f"gpt-oss.{key}") for key in (
        "expert_count", "expert_used_count", "attention.sliding_window")},
                     {"expert_count": 6, "expert_used_count": 2, "attention.sliding_window": 8})
    self.assertEqual({stored.type for stored in file.stored.values()}, {"F32", "BF16", "MXFP4"})
    found = {tensor.name: tensor.as_dtype("F32").load() for tensor in file.tensors()}
    for layer in range(settings["num_hidden_layers"]):
      prefix, experts = f"blk.{layer}.", f"model.layers.{layer}.mlp.experts."
      for ours, name, rows in (("ffn_gate_exps", "gate_up_proj", slice(0, None, 2)),
                               ("ffn_up_exps", "gate_up_proj", slice(1, None, 2)),
                               ("ffn_down_exps", "down_proj", slice(None))):
        np.testing.assert_array_equal(found.pop(f"{prefix}{ours}.weight"),
                                      weights[experts + name][:, rows])
        np.testing.assert_array_equal(found.pop(f"{prefix}{ours}.bias"),
                                      weights[f"{experts}{name}_bias"][:, rows])
      layer_prefix = f"model.layers.{layer}."
      for ours, name in (("attn_sinks.weight", "self_attn.sinks"),
                         ("ffn_gate_inp.weight", "mlp.router.weight"),
                         ("ffn_gate_inp.bias", "mlp.router.bias"),
                         ("attn_norm.weight", "input_layernorm.weight"),
                         ("post_attention_norm.weight", "post_attention_layernorm.weight")):
        np.testing.assert_array_equal(found.pop(prefix + ours), weights[layer_prefix + name])
      for ours, name in (("q", "q"), ("k", "k"), ("v", "v"), ("output", "o")):
        for kind in ("weight", "bias"):
          np.testing.assert_array_equal(found.pop(f"{prefix}attn_{ours}.{kind}"),
                                        weights[f"{layer_prefix}self_attn.{name}_proj.{kind}"])
    for ours, name in (("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"),
                       ("output", "lm_head")):
      np.testing.assert_array_equal(found.pop(f"{ours}.weight"), weights[f"{name}.weight"])
    self.assertEqual(found, {})
    self.assertEqual((FIXTURES / "gpt_oss_gguf" / "expected.safetensors").read_bytes(),
                     (FIXTURES / "gpt_oss_mxfp4" / "expected.safetensors").read_bytes())

  def test_existing_fixtures_are_kept(self):
    shutil.copytree(FIXTURES / "qwen3", self.folder / "qwen3")
    (self.folder / "meta.json").write_text('{"fixtures": {"other": {"a": 1}}, "torch": "2"}')
    self.assertEqual(run_cli("golden", self.folder, "--fixture", "qwen3")[0], 1)
    self.assertEqual(run_cli("golden", self.folder, "--fixture", "qwen3", "--force")[0], 0)
    meta = json.loads((self.folder / "meta.json").read_text())
    self.assertEqual((meta["fixtures"]["other"], meta["torch"]), ({"a": 1}, "2"))
    code, _, err = run_cli("golden", self.folder, "--fixture", "gpt5")
    self.assertEqual(code, 1)
    self.assertIn("deepseek_v3_fp8", err)


@unittest.skipUnless(HAS_TRANSFORMERS, "torch and transformers are not installed")
class TransformersTest(FolderTest):
  """transformers, in float64, on the decoded weights of each fixture."""

  def _check(self, name):
    from transformers import AutoConfig, AutoModelForCausalLM
    from sluice_export import double_precision, reference_run
    settings, plain = fixture_comparison.for_transformers(FIXTURES / name)
    folder = self.folder / name
    folder.mkdir()
    hf_folder.write(folder, settings, [from_array(key, "F64", values)
                                       for key, values in plain.items()], 1 << 30)
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    model, loaded = double_precision.load(AutoModelForCausalLM, folder, config)
    self.assertFalse(loaded["missing_keys"])
    self.assertFalse(loaded["unexpected_keys"])
    expected = read(FIXTURES / name / "expected.safetensors")
    with double_precision.DoublePrecision():
      for number in range(3):
        ids = expected[f"input_ids_{number}"].tolist()
        trace = reference_run.trace(model, ids)
        self.assertLess(relative(trace.logits.numpy(), expected[f"logits64_{number}"]), 5e-8)
        if number == 0:
          for layer, hidden in trace.hidden.items():
            self.assertLess(relative(hidden.numpy(), expected[f"hidden_0_{layer}"]), 5e-8)
          for layer, (chosen, factors) in trace.routers.items():
            np.testing.assert_array_equal(chosen.numpy(), expected[f"router_idx_0_{layer}"])
            self.assertLess(relative(factors.numpy(), expected[f"router_weight_0_{layer}"]), 5e-8)
          self.assertEqual(len(trace.routers), sum("router_idx" in key for key in expected))

  def test_qwen3(self):
    self._check("qwen3")

  def test_deepseek_v3_fp8(self):
    self._check("deepseek_v3_fp8")

  def test_gpt_oss_mxfp4(self):
    self._check("gpt_oss_mxfp4")

  def test_deepseek_in_the_clothes_of_qwen2_moe(self):
    self._check("deepseek")

  def test_float8_as_torch_decodes_it(self):
    import torch
    for tensor in safetensors_io.read_folder(FIXTURES / "deepseek_v3_fp8"):
      if tensor.dtype == "F8_E4M3":
        codes = torch.from_numpy(tensor.load().copy()).view(torch.float8_e4m3fn)
        np.testing.assert_array_equal(codes.double().numpy(), float8.decode(tensor.load()))

  def test_mxfp4_as_transformers_decodes_it(self):
    import torch
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors
    settings, tensors = _checkpoint("gpt_oss_mxfp4")
    stored = {tensor.name: tensor.load() for tensor in tensors}
    weights = Weights(tensors, settings)
    names = [name[:-len("_blocks")] for name in stored if name.endswith("_blocks")]
    self.assertEqual(len(names), 2 * settings["num_hidden_layers"])
    for name in names:
      decoded = convert_moe_packed_tensors(torch.from_numpy(stored[name + "_blocks"]),
                                           torch.from_numpy(stored[name + "_scales"]),
                                           dtype=torch.float32)
      np.testing.assert_array_equal(decoded.numpy().transpose(0, 2, 1), weights[name])


if __name__ == "__main__":
  unittest.main()

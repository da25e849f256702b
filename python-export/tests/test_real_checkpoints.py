import json
import tempfile
import unittest
from pathlib import Path

import numpy as np

from sluice_export import real_sizes, safetensors_io
from sluice_export.errors import ExportError
from sluice_export.real_checkpoints import LENGTHS, make_checkpoint, positions

try:
  import torch  # noqa: F401
  import transformers  # noqa: F401
  HAS_TRANSFORMERS = True
except ImportError:
  HAS_TRANSFORMERS = False

FIXTURES = Path(__file__).parents[2] / "tests/golden/fixtures"
REFERENCE = FIXTURES / "adaptive_moe/reference_model.py"


class SizesTest(unittest.TestCase):

  def test_positions_rise_and_end_with_the_last_ones(self):
    self.assertEqual(positions(1), [0])
    self.assertEqual(positions(17), list(range(17)))
    for length in (33, 129, 5000):
      found = positions(length)
      self.assertEqual(found, sorted(set(found)))
      self.assertEqual(found[0], 0)
      self.assertEqual(found[-8:], list(range(length - 8, length)))

  def test_weights_are_named_once_and_none_is_constant(self):
    for name, shape in real_sizes.SHAPES.items():
      for scale in LENGTHS:
        weights = shape.weights(shape.settings(scale))
        self.assertEqual(len(weights), len({weight.name for weight in weights}), name)
        for weight in weights:
          self.assertGreater(weight.std, 0, weight.name)

  def test_real_sizes_are_the_published_ones(self):
    def parameters(name):
      shape = real_sizes.SHAPES[name]
      return sum(int(np.prod(weight.shape)) for weight in shape.weights(shape.settings())
                 if "embed" not in weight.name and "lm_head" not in weight.name)

    # One layer of Llama 3 8B has 218 million parameters, one of Mixtral 8x7B 1.45 billion.
    self.assertAlmostEqual(parameters("llama-3-8b") / 2, 218.1e6, delta=0.1e6)
    self.assertAlmostEqual(parameters("mixtral-8x7b") / 2, 1451e6, delta=1e6)


@unittest.skipUnless(HAS_TRANSFORMERS, "torch and transformers are not installed")
class CheckpointTest(unittest.TestCase):

  def setUp(self):
    scratch = tempfile.TemporaryDirectory()
    self.addCleanup(scratch.cleanup)
    self.folder = Path(scratch.name)

  def _make(self, name, **options):
    report = make_checkpoint(self.folder / name, name, scale="tiny", adaptive_reference=REFERENCE,
                             **options)
    tensors = safetensors_io.read_file(self.folder / name / "expected.safetensors")
    return report, {tensor.name: tensor.load() for tensor in tensors}

  def test_outputs_are_of_the_named_positions_and_choices_of_all(self):
    report, expected = self._make("deepseek-v3")
    self.assertEqual(report.lengths, list(LENGTHS["tiny"]))
    for number, length in enumerate(report.lengths):
      self.assertEqual(len(expected[f"input_ids_{number}"]), length)
      places = expected[f"positions_{number}"]
      self.assertEqual(places.tolist(), positions(length))
      for kind in ("logits64", "logits_bfloat16"):
        self.assertEqual(expected[f"{kind}_{number}"].shape, (len(places), 256))
      self.assertEqual(expected[f"router_idx_{number}_1"].shape, (length, 4))
      self.assertNotIn(f"router_idx_{number}_0", expected)
      own = np.sort(expected[f"router_idx_bfloat16_{number}_1"])
      same = (own == np.sort(expected[f"router_idx_{number}_1"])).all(axis=-1)
      self.assertGreater(same.mean(), 0.7)
      # PyTorch's arithmetic, with the same experts: neither exact nor wrong.
      self.assertGreater(report.errors[number], 1e-3)
      self.assertLess(report.errors[number], 5e-2)

  def test_float64_is_that_of_the_reference_in_numpy(self):
    from sluice_export.reference.decoder import Decoder
    _, expected = self._make("deepseek-v2-lite")
    folder = self.folder / "deepseek-v2-lite"
    settings = json.loads((folder / "config.json").read_text())
    decoder = Decoder(settings, safetensors_io.read_folder(folder))
    trace = decoder.trace(expected["input_ids_2"].tolist())
    np.testing.assert_allclose(trace.logits[expected["positions_2"]], expected["logits64_2"],
                               rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(np.sort(trace.routers[1][0]),
                                  np.sort(expected["router_idx_2_1"]))

  def test_a_seed_gives_the_same_bytes(self):
    self._make("adaptive-topk")
    first = (self.folder / "adaptive-topk/model.safetensors").read_bytes()
    _, expected = self._make("adaptive-topk", force=True)
    self.assertEqual((self.folder / "adaptive-topk/model.safetensors").read_bytes(), first)
    self.assertEqual(expected["attention_keep_2_0"].shape, (4, 129, 129))
    with self.assertRaisesRegex(ExportError, "exists"):
      self._make("adaptive-topk")
    self._make("adaptive-topk", seed=2, force=True)
    self.assertNotEqual((self.folder / "adaptive-topk/model.safetensors").read_bytes(), first)

  def test_unknown_names_are_refused(self):
    with self.assertRaisesRegex(ExportError, "llama-3-8b"):
      make_checkpoint(self.folder, "llama-4")


if __name__ == "__main__":
  unittest.main()

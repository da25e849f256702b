"""The float64 reference: against the public families' fixtures, and in its pieces."""

import json
import math
import unittest

import numpy as np

from tests.support import FIXTURES, FolderTest
from sluice_export import float8, mxfp4, safetensors_io
from sluice_export.reference.attention import attend
from sluice_export.reference.decoder import Decoder
from sluice_export.reference.weights import Weights
from sluice_export.tensor import from_array

# Computed by transformers, an implementation that shares nothing with this one.
PUBLIC = ("llama", "mistral", "qwen2", "qwen3_moe", "deepseek_v2", "deepseek_v2_grouped",
          "deepseek_v3", "gpt_oss")
# float64 stored as float32: half a unit in the last place, spread evenly.
STORED = 5e-8


def read(path):
  return {tensor.name: tensor.load() for tensor in safetensors_io.read_file(path)}


def relative(values, oracle):
  return np.linalg.norm(values - oracle) / np.linalg.norm(oracle.astype(np.float64))


class DecoderTest(FolderTest):

  def test_reproduces_the_public_families(self):
    for name in PUBLIC:
      with self.subTest(name):
        settings = json.loads((FIXTURES / name / "config.json").read_text())
        decoder = Decoder(settings, safetensors_io.read_folder(FIXTURES / name))
        expected = read(FIXTURES / name / "expected.safetensors")
        for number in range(3):
          trace = decoder.trace(expected[f"input_ids_{number}"])
          self.assertLess(relative(trace.logits, expected[f"logits64_{number}"]), STORED)
          if number > 0:
            continue
          self.assertLess(relative(trace.final_norm, expected["final_norm_0"]), STORED)
          for layer in range(settings["num_hidden_layers"]):
            self.assertLess(relative(trace.hidden[layer], expected[f"hidden_0_{layer}"]), STORED)
          layers = {int(key.rsplit("_", 1)[1]) for key in expected if "router_idx" in key}
          self.assertEqual(set(trace.routers), layers)
          for layer, (chosen, factors) in trace.routers.items():
            np.testing.assert_array_equal(chosen, expected[f"router_idx_0_{layer}"])
            self.assertLess(relative(factors, expected[f"router_weight_0_{layer}"]), STORED)

  def test_float32_stays_float32(self):
    name = "gpt_oss"
    settings = json.loads((FIXTURES / name / "config.json").read_text())
    expected = read(FIXTURES / name / "expected.safetensors")
    decoder = Decoder(settings, safetensors_io.read_folder(FIXTURES / name), np.float32)
    trace = decoder.trace(expected["input_ids_0"])
    for values in (trace.logits, trace.final_norm, *trace.hidden.values()):
      self.assertEqual(values.dtype, np.float32)
    error = relative(trace.logits, expected["logits64_0"])
    self.assertLess(error, 1e-5)
    self.assertGreater(error, STORED)

  def test_unknown_settings_are_refused(self):
    settings = json.loads((FIXTURES / "deepseek_v3" / "config.json").read_text())
    tensors = safetensors_io.read_folder(FIXTURES / "deepseek_v3")
    for change, word in (({"model_type": "gpt2"}, "model_type"),
                         ({"rope_scaling": {"type": "longrope"}}, "longrope"),
                         ({"scoring_func": "tanh"}, "tanh"),
                         ({"topk_method": "random"}, "random")):
      self.assert_refused(word, lambda: Decoder({**settings, **change}, tensors).run([5, 6]))
    missing = [tensor for tensor in tensors if "layers.1.mlp.gate.weight" not in tensor.name]
    self.assert_refused("layers.1.mlp.gate.weight", Decoder(settings, missing).run, [5])

  def test_attention_by_hand(self):
    query = key = np.zeros((2, 3, 1))  # every score is 0, so weights are even
    value = np.array([[[1.0], [2.0], [6.0]]])
    even = attend(query, key[:1], value, 1.0)
    np.testing.assert_allclose(even, [[1, 1], [1.5, 1.5], [3, 3]])
    windowed = attend(query, key[:1], value, 1.0, window=2)
    np.testing.assert_allclose(windowed, [[1, 1], [1.5, 1.5], [4, 4]])
    # A sink of logit log(n) weighs as much as n keys.
    sunk = attend(query, key[:1], value, 1.0, sinks=np.log([1.0, 3.0]))
    np.testing.assert_allclose(sunk, [[1 / 2, 1 / 4], [1, 3 / 5], [9 / 4, 9 / 6]])


class Float8Test(FolderTest):

  def test_decode(self):
    for code, value in ((0x00, 0.0), (0x01, 2.0**-9), (0x07, 7 * 2.0**-9), (0x08, 2.0**-6),
                        (0x38, 1.0), (0x39, 1.125), (0x7E, 448.0), (0xB8, -1.0), (0xFE, -448.0)):
      self.assertEqual(float8.decode(np.uint8(code)), value)
    self.assertTrue(math.isnan(float8.decode(np.uint8(0x7F))))
    self.assertTrue(math.isnan(float8.decode(np.uint8(0xFF))))

  def test_encode_gives_back_every_code(self):
    codes = np.array([code for code in range(256) if code & 0x7F != 0x7F], dtype=np.uint8)
    np.testing.assert_array_equal(float8.encode(float8.decode(codes)), codes)

  def test_encode_rounds_to_nearest_and_ties_to_even(self):
    for value, code in ((1.0625, 0x38), (1.1875, 0x3A), (1.07, 0x39), (-1.0625, 0xB8),
                        (2.0**-10, 0x00), (3 * 2.0**-10, 0x02), (440.0, 0x7E), (-0.0, 0x80)):
      self.assertEqual(float8.encode(np.array([value]))[0], code, value)
    self.assert_refused("500", float8.encode, np.array([500.0]))
    self.assert_refused("448", float8.encode, np.array([np.nan]))

  def test_blocks_at_the_edges(self):
    random = np.random.default_rng(1)
    matrix = random.standard_normal((200, 160))
    codes, scales = float8.encode_blocks(matrix, (128, 128))
    self.assertEqual(scales.shape, (2, 2))
    decoded = float8.decode_blocks(codes, scales, (128, 128))
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
      rows, columns = slice(128 * i, 128 * (i + 1)), slice(128 * j, 128 * (j + 1))
      part = matrix[rows, columns]
      self.assertAlmostEqual(float(scales[i, j]), np.abs(part).max() / 448, delta=1e-8)
      np.testing.assert_array_equal(
          decoded[rows, columns], float8.decode(codes[rows, columns]) * float(scales[i, j]))
    self.assertLess(np.max(np.abs(decoded - matrix) / np.maximum(np.abs(matrix), 0.01)), 2**-4)
    self.assert_refused("[2, 2]", float8.decode_blocks, codes, scales[:1], (128, 128))


class Mxfp4Test(FolderTest):

  def test_group_by_hand(self):
    blocks = np.zeros((1, 16), dtype=np.uint8)
    blocks[0, 0], blocks[0, 1], blocks[0, 15] = 0x21, 0xF7, 0x9A
    values = mxfp4.decode(blocks, np.array([128], dtype=np.uint8))  # 2^1
    expected = np.zeros(32)
    expected[[0, 1, 2, 3, 30, 31]] = [1, 2, 12, -12, -2, -1]
    np.testing.assert_array_equal(values, expected)

  def test_scales_are_powers_of_two(self):
    blocks = np.full((255, 1, 16), 0x22, dtype=np.uint8)
    values = mxfp4.decode(blocks, np.arange(255, dtype=np.uint8)[:, None])
    np.testing.assert_array_equal(values[:, 0], [2.0 ** (code - 127) for code in range(255)])

  def test_encode_gives_back_what_it_holds(self):
    random = np.random.default_rng(2)
    codes = random.integers(0, 16, (5, 3, 2, 32))
    codes[..., 0] = 7  # the largest, so that the scale is determined
    scales = random.integers(100, 150, (5, 3, 2)).astype(np.uint8)
    blocks = (codes[..., 0::2] | codes[..., 1::2] << 4).astype(np.uint8)
    values = mxfp4.decode(blocks, scales)
    self.assertEqual(values.shape, (5, 3, 64))
    again, same = mxfp4.encode(values)
    np.testing.assert_array_equal(same, scales)
    np.testing.assert_array_equal(mxfp4.decode(again, same), values)

  def test_encode_rounds_to_nearest_and_ties_to_even(self):
    values = np.zeros(32)
    values[:9] = [4, 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 3.6, -0.26]
    blocks, scales = mxfp4.encode(values)
    self.assertEqual(scales.tolist(), [127])
    np.testing.assert_array_equal(mxfp4.decode(blocks, scales)[:9],
                                  [4, 0, 1, 1, 2, 2, 4, 4, -0.5])
    self.assertEqual(mxfp4.decode(*mxfp4.encode(np.zeros(32))).tolist(), [0.0] * 32)
    self.assert_refused("multiple of 32", mxfp4.encode, np.zeros(33))


class WeightsTest(FolderTest):

  def test_storage_does_not_show(self):
    codes = np.array([[0x38, 0xB8]], dtype=np.uint8)
    tensors = [
        from_array("half", "BF16", np.array([0x3FC0], dtype=np.uint16)),
        from_array("eight.weight", "F8_E4M3", codes),
        from_array("eight.weight_scale_inv", "F32", np.array([[3.0]])),
        from_array("four_blocks", "U8", np.full((1, 1, 1, 16), 0x42, dtype=np.uint8)),
        from_array("four_scales", "U8", np.full((1, 1, 1), 126, dtype=np.uint8)),
        from_array("alone.weight", "F8_E4M3", codes),
        from_array("bytes", "U8", codes),
    ]
    weights = Weights(tensors, {})
    self.assertEqual(weights["half"].tolist(), [1.5])
    self.assertEqual(weights["eight.weight"].tolist(), [[3.0, -3.0]])
    self.assertEqual(weights["four"].tolist(), [[[0.5, 1.0] * 16]])
    self.assertEqual(weights["four"].dtype, np.float64)
    self.assertIn("four", weights)
    self.assertIsNone(weights.get("five"))
    for name, word in (("five", "five: is missing"), ("alone.weight", "alone.weight_scale_inv"),
                       ("bytes", "has type U8")):
      self.assert_refused(word, weights.__getitem__, name)


if __name__ == "__main__":
  unittest.main()

"""Rotary scaling: both spellings of config.json, and GGUF's divisors."""

import json
import math
import unittest

import numpy as np

from tests.support import FIXTURES, FolderTest
from sluice_export import rope
from sluice_export.rope import RopeScaling


class SpellingTest(FolderTest):

  def test_old_and_new_spelling_agree(self):
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
    old = {"rope_theta": 5e5, "rope_scaling": scaling}
    new = {"rope_parameters": {**scaling, "rope_theta": 5e5}}
    self.assertEqual(rope.from_config(old), rope.from_config(new))
    self.assertEqual(rope.from_config(new), (5e5, RopeScaling("llama3", 8.0, 64, 1.0, 4.0)))

  def test_key_type_is_an_older_name(self):
    self.assertEqual(rope.from_config({"rope_scaling": {"type": "linear", "factor": 2}}),
                     (None, RopeScaling("linear", 2.0)))

  def test_to_config_and_back(self):
    for scaling in (RopeScaling("linear", 4.0), RopeScaling("llama3", 32.0, 8192, 1.0, 4.0),
                    RopeScaling("yarn", 4.0, 32768), RopeScaling("dynamic", 2.0), None):
      self.assertEqual(rope.from_config({"rope_scaling": rope.to_config(scaling)})[1], scaling)

  def test_refusals(self):
    for config, word in (
        ({"rope_scaling": {"rope_type": "longrope"}}, "longrope"),
        ({"rope_scaling": {"rope_type": "linear"}}, "factor"),
        ({"rope_scaling": {"rope_type": "linear", "factor": -1}}, "-1"),
        ({"rope_scaling": {"rope_type": "linear", "factor": True}}, "True"),
        ({"rope_scaling": "linear"}, "an object"),
        ({"rope_theta": 0}, "rope_theta"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4, "beta_fast": 16,
                           "original_max_position_embeddings": 64}}, "beta_fast"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4, "mscale": 0.7,
                           "original_max_position_embeddings": 64}}, "mscale"),
    ):
      self.assert_refused(word, rope.from_config, config)


class DivisorsTest(FolderTest):

  def test_three_zones(self):
    # Wavelengths 2 pi * theta^(i / 4) for head_dim 8: 6.28, 62.8, 628, 6283.
    scaling = RopeScaling("llama3", 8.0, 400, 1.0, 4.0)
    divisors = rope.llama3_divisors(1e4, 8, scaling)
    blend = (400 / (20 * math.pi) - 1) / 3
    self.assertEqual(divisors[0], 1.0)
    self.assertEqual(divisors[1], 1.0 if blend >= 1 else np.float32(1 / ((1 - blend) / 8 + blend)))
    self.assertEqual(list(divisors[2:]), [8.0, 8.0])

  def test_settings_are_found_again(self):
    for theta, dim, settings in (
        (500000.0, 128, (8.0, 8192, 1.0, 4.0)),   # the published 8-billion model
        (500000.0, 64, (32.0, 8192, 1.0, 4.0)),   # the published 1-billion model
        (500000.0, 16, (8.0, 64, 1.0, 4.0)),      # one blended frequency
        (10000.0, 128, (16.0, 4096, 1.0, 8.0)),   # another high_freq_factor
    ):
      with self.subTest(settings):
        scaling = RopeScaling("llama3", *settings)
        divisors = rope.llama3_divisors(theta, dim, scaling)
        self.assertEqual(rope.llama3_from_divisors(theta, divisors), scaling)

  def test_settings_that_are_not_unique_give_the_same_divisors(self):
    for settings in ((8.0, 4096, 2.0, 8.0), (4.0, 20, 1.0, 1.5), (8.0, 100, 3.0, 7.0)):
      for dim in (4, 8, 64):
        with self.subTest((settings, dim)):
          divisors = rope.llama3_divisors(1e5, dim, RopeScaling("llama3", *settings))
          if (divisors == 1).all():
            continue
          found = rope.llama3_from_divisors(1e5, divisors)
          np.testing.assert_allclose(rope.llama3_divisors(1e5, dim, found), divisors, rtol=2e-6)

  def test_other_divisors_are_refused(self):
    for divisors in ([1.0, 3.0, 2.0, 8.0], [0.5, 1.0], [1.0, float("nan")], [1.0, float("inf")],
                     [2.0, 1.0]):
      self.assert_refused("rope_freqs.weight", rope.llama3_from_divisors, 1e4,
                          np.array(divisors, dtype="<f4"))

  def test_fixture(self):
    config = json.loads((FIXTURES / "llama3_rope" / "config.json").read_text())
    theta, scaling = rope.from_config(config)
    divisors = rope.llama3_divisors(theta, config["head_dim"], scaling)
    self.assertEqual(len(divisors), config["head_dim"] // 2)
    self.assertEqual((divisors[0], divisors[-1]), (1.0, 8.0))


if __name__ == "__main__":
  unittest.main()

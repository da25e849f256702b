"""bfloat16 in numpy, and casts between the floating-point types."""

import unittest

import numpy as np

from tests.support import FolderTest
from sluice_export import dtypes


def _bits(value):
  return np.array([value], dtype="<u4").view("<f4")


class Bfloat16Test(FolderTest):

  def test_rounds_to_nearest_ties_to_even(self):
    # float32 bits -> bfloat16 bits, worked out by hand.
    cases = {
        0x3F800000: 0x3F80,  # 1
        0x3F807FFF: 0x3F80,  # just below the tie
        0x3F808000: 0x3F80,  # tie, kept part even: down
        0x3F808001: 0x3F81,  # just above the tie
        0x3F818000: 0x3F82,  # tie, kept part odd: up
        0x3FFF8000: 0x4000,  # tie that carries into the exponent
        0xBF808001: 0xBF81,  # the sign plays no part
        0x00008000: 0x0000,  # subnormal tie to zero
        0x00008001: 0x0001,
        0x00018000: 0x0002,
        0x80000000: 0x8000,  # minus zero
        0x7F7FFFFF: 0x7F80,  # the largest float32 is past the largest bfloat16
        0x7F7F7FFF: 0x7F7F,
        0x7F800000: 0x7F80,  # infinity
        0xFF800000: 0xFF80,
    }
    for bits, expected in cases.items():
      with self.subTest(f"{bits:08x}"):
        self.assertEqual(int(dtypes.bfloat16_from_float32(_bits(bits))[0]), expected)

  def test_nan_stays_nan_with_its_sign(self):
    for bits in (0x7F800001, 0xFF800001, 0x7FFFFFFF, 0xFFC00000):
      result = int(dtypes.bfloat16_from_float32(_bits(bits))[0])
      self.assertEqual(result & 0x7F80, 0x7F80)
      self.assertNotEqual(result & 0x007F, 0)
      self.assertEqual(result >> 15, bits >> 31)

  def test_every_bfloat16_survives_the_way_through_float32(self):
    every = np.arange(1 << 16, dtype="<u2")
    wide = dtypes.float32_from_bfloat16(every)
    back = dtypes.bfloat16_from_float32(wide)
    number = ~np.isnan(wide)
    np.testing.assert_array_equal(back[number], every[number])
    self.assertTrue(np.isnan(dtypes.float32_from_bfloat16(back[~number])).all())

  def test_result_is_the_nearest_of_all_neighbours(self):
    values = np.random.default_rng(5).standard_normal(20000).astype("<f4")
    bits = dtypes.bfloat16_from_float32(values)
    error = np.abs(dtypes.float32_from_bfloat16(bits).astype("f8") - values)
    for step in (-1, 1):
      neighbour = dtypes.float32_from_bfloat16((bits.astype("i4") + step).astype("<u2"))
      self.assertTrue((error <= np.abs(neighbour.astype("f8") - values)).all())


class CastTest(FolderTest):

  def test_float16_that_overflows_is_refused(self):
    values = np.array([1.0, -70000.0], dtype="<f4")
    self.assert_refused(("blk", "70000", "65504", "--dtype bfloat16"), dtypes.cast, values, "F32",
                        "F16", "blk")

  def test_bfloat16_that_overflows_is_refused(self):
    values = np.array([3.4e38], dtype="<f4")
    self.assert_refused(("too large for bfloat16", "--dtype float32"), dtypes.cast, values, "F32",
                        "BF16")

  def test_infinities_and_nan_are_kept(self):
    values = np.array([np.inf, -np.inf, np.nan], dtype="<f4")
    for target in ("F16", "BF16"):
      wide = dtypes.cast(dtypes.cast(values, "F32", target), target, "F32")
      np.testing.assert_array_equal(wide, values)

  def test_float16_through_float32_and_back_is_exact(self):
    every = np.arange(1 << 16, dtype="<u2").view("<f2")
    every = every[np.isfinite(every)]
    wide = dtypes.cast(every, "F16", "F32")
    np.testing.assert_array_equal(dtypes.cast(wide, "F32", "F16"), every)

  def test_integers_are_not_cast(self):
    self.assert_refused("I64 to F32", dtypes.cast, np.zeros(2, "<i8"), "I64", "F32", "ids")

  def test_unknown_option(self):
    self.assert_refused(("--dtype", "int8", "bfloat16"), dtypes.storage_type, "int8")

  def test_empty_tensor(self):
    self.assertEqual(dtypes.cast(np.zeros((0, 4), "<f4"), "F32", "BF16").shape, (0, 4))


if __name__ == "__main__":
  unittest.main()

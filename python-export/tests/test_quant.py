"""Block formats against blocks worked out by hand and against another implementation's output."""

import pathlib
import struct
import unittest

import numpy as np
from safetensors.numpy import load_file

from tests.support import FolderTest
from sluice_export.quant import FORMATS

VECTORS = pathlib.Path(__file__).parent / "data" / "quant_vectors.safetensors"


def _half(*values):
  return struct.pack(f"<{len(values)}e", *values)


def _decode(name, block):
  return FORMATS[name].decode(np.frombuffer(bytes(block), np.uint8).reshape(1, -1))[0]


class HandMadeBlockTest(FolderTest):

  def test_q4_0(self):
    values = _decode("Q4_0", _half(0.5) + bytes([0x1F] + [0x88] * 14 + [0xF0]))
    self.assertEqual(values[0], 0.5 * (15 - 8))
    self.assertEqual(values[16], 0.5 * (1 - 8))
    self.assertEqual(values[15], 0.5 * (0 - 8))
    self.assertEqual(values[31], 0.5 * (15 - 8))
    self.assertTrue((values[1:15] == 0).all())

  def test_q4_1(self):
    values = _decode("Q4_1", _half(0.25, -1.0) + bytes([0x31] + [0x00] * 15))
    self.assertEqual(values[0], 0.25 * 1 - 1)
    self.assertEqual(values[16], 0.25 * 3 - 1)
    self.assertEqual(values[1], -1.0)

  def test_q5_0(self):
    # Fifth bits of values 0 and 17.
    block = _half(2.0) + struct.pack("<I", 1 | 1 << 17) + bytes([0x21, 0x43] + [0] * 14)
    values = _decode("Q5_0", block)
    self.assertEqual(values[0], 2.0 * (16 + 1 - 16))
    self.assertEqual(values[16], 2.0 * (2 - 16))
    self.assertEqual(values[1], 2.0 * (3 - 16))
    self.assertEqual(values[17], 2.0 * (16 + 4 - 16))

  def test_q5_1(self):
    block = _half(2.0, 0.5) + struct.pack("<I", 1 << 31) + bytes([0] * 15 + [0xF7])
    values = _decode("Q5_1", block)
    self.assertEqual(values[15], 2.0 * 7 + 0.5)
    self.assertEqual(values[31], 2.0 * (16 + 15) + 0.5)
    self.assertEqual(values[0], 0.5)

  def test_q8_0(self):
    values = _decode("Q8_0", _half(0.125) + struct.pack("<32b", -128, 127, *range(30)))
    self.assertEqual(values[0], -16.0)
    self.assertEqual(values[1], 127 / 8)
    self.assertEqual(values[31], 29 / 8)

  def test_q4_k_scales(self):
    # Scales 1 to 4 in bytes 0-3 with high bits 1 for group 4, minimums 5 to 8 in bytes 4-7 with
    # high bits 2 for group 5; bytes 8-11 hold scale and minimum of groups 4 to 7.
    scales = bytes([1 | 0x40, 2, 3, 4, 5, 6 | 0x80, 7, 8, 0x21, 0x43, 0x65, 0x87])
    block = _half(1.0, 1.0) + scales + bytes([0x21] * 128)
    groups = _decode("Q4_K", block).reshape(8, 32)
    expected = [
        1 * 1 - 5, 2 * 2 - 6, 3 * 1 - 7, 4 * 2 - 8,
        (1 + 16) * 1 - 2,  # group 4: scale 1 with high bits 1
        3 * 2 - (4 + 32),  # group 5: minimum 4 with high bits 2
        5 * 1 - 6, 7 * 2 - 8,
    ]
    for group, value in zip(groups, expected):
      self.assertTrue((group == value).all(), (group[0], value))

  def test_q5_k_fifth_bits(self):
    scales = bytes([1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1])
    fifth = bytes([0b10000001] + [0] * 31)
    block = _half(1.0, 0.0) + scales + fifth + bytes([0x21] * 128)
    groups = _decode("Q5_K", block).reshape(8, 32)
    self.assertEqual(groups[0][0], 16 + 1)
    self.assertEqual(groups[7][0], 16 + 2)
    self.assertEqual(groups[1][0], 2)
    self.assertEqual(groups[0][1], 1)

  def test_q6_k(self):
    low = bytearray(128)
    low[0] = 0x21    # values 0 and 64 of the first half
    low[32] = 0x43   # values 32 and 96
    high = bytearray(64)
    high[0] = 0b11_10_01_00  # quarters 0 to 3 of value 0
    scales = struct.pack("<16b", 1, 1, 2, 1, 3, 1, -4, 1, *[0] * 8)
    values = _decode("Q6_K", bytes(low) + bytes(high) + scales + _half(0.5))
    self.assertEqual(values[0], 0.5 * 1 * (1 - 32))
    self.assertEqual(values[32], 0.5 * 2 * (3 + 16 - 32))
    self.assertEqual(values[64], 0.5 * 3 * (2 + 32 - 32))
    self.assertEqual(values[96], 0.5 * -4 * (4 + 48 - 32))
    self.assertTrue((values[128:] == 0).all())

  def test_mxfp4(self):
    values = _decode("MXFP4", bytes([129, 0x21] + [0x00] * 14 + [0xF7]))
    self.assertEqual(values[0], 4 * 0.5)
    self.assertEqual(values[16], 4 * 1)
    self.assertEqual(values[15], 4 * 6)
    self.assertEqual(values[31], 4 * -6)
    self.assertTrue((values[1:15] == 0).all())
    self.assertEqual(_decode("MXFP4", bytes([0, 0x02] + [0] * 15))[0], 2.0**-127)


class IndependentDecoderTest(FolderTest):

  def test_random_blocks_decode_bit_for_bit(self):
    vectors = load_file(VECTORS)
    self.assertEqual({name.split(".")[0] for name in vectors}, set(FORMATS))
    for name, block in FORMATS.items():
      with self.subTest(name):
        blocks = vectors[f"{name}.blocks"]
        self.assertEqual(blocks.shape[1], block.BLOCK_BYTES)
        values = block.decode(blocks)
        self.assertEqual(values.dtype, np.float32)
        self.assertEqual(values.shape, (len(blocks), block.BLOCK_SIZE))
        np.testing.assert_array_equal(values, vectors[f"{name}.values"])


if __name__ == "__main__":
  unittest.main()

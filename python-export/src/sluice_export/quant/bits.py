"""Pieces that several block formats share."""

import numpy as np


def half(blocks, offset):
  """Reads the float16 at byte `offset` of each block as float32 [n, 1]."""
  return np.ascontiguousarray(blocks[:, offset:offset + 2]).view("<f2").astype(np.float32)


def nibbles(packed):
  """Splits uint8 [n, k] into [n, 2 k]: all low halves first, then all high halves."""
  return np.concatenate([packed & np.uint8(0x0F), packed >> np.uint8(4)], axis=1)


def fifth_bits(packed):
  """Spreads 4 bytes [n, 4], bit j for value j, to uint8 [n, 32] holding 0 or 16."""
  return np.unpackbits(packed, axis=1, bitorder="little") << np.uint8(4)


def k_scales(packed):
  """Unpacks the twelve bytes of eight 6-bit scales and eight 6-bit minimums.

  The first four of each are the low six bits of bytes 0-3 and 4-7. The last four have their low
  four bits in the halves of bytes 8-11 and their high two bits on top of bytes 0-3 and 4-7.

  Args:
    packed: uint8 [n, 12].

  Returns:
    (scales, minimums), float32 [n, 8] each, whole numbers 0 to 63.
  """
  low_scale, low_minimum, rest = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
  scales = np.concatenate(
      [low_scale & 0x3F, (rest & 0x0F) | ((low_scale >> 6) << 4)], axis=1)
  minimums = np.concatenate(
      [low_minimum & 0x3F, (rest >> 4) | ((low_minimum >> 6) << 4)], axis=1)
  return scales.astype(np.float32), minimums.astype(np.float32)

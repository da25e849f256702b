"""Q5_1: 32 values in 24 bytes; scale d, minimum m (float16), 32 fifth bits, then halves.

x = d * q + m
"""

import numpy as np

from sluice_export.quant.bits import fifth_bits, half, nibbles

BLOCK_SIZE = 32
BLOCK_BYTES = 24


def decode(blocks):
  """Decodes uint8 [n, 24] to float32 [n, 32]."""
  q = nibbles(blocks[:, 8:]) | fifth_bits(blocks[:, 4:8])
  return half(blocks, 0) * q.astype(np.float32) + half(blocks, 2)

"""Q4_1: 32 values in 20 bytes; scale d and minimum m (float16), then halves as in Q4_0.

x = d * q + m
"""

import numpy as np

from sluice_export.quant.bits import half, nibbles

BLOCK_SIZE = 32
BLOCK_BYTES = 20


def decode(blocks):
  """Decodes uint8 [n, 20] to float32 [n, 32]."""
  return half(blocks, 0) * nibbles(blocks[:, 4:]).astype(np.float32) + half(blocks, 2)

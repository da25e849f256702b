"""Q5_0: 32 values in 22 bytes; scale d (float16), 32 fifth bits, then halves as in Q4_0.

x = d * (q - 16)
"""

import numpy as np

from sluice_export.quant.bits import fifth_bits, half, nibbles

BLOCK_SIZE = 32
BLOCK_BYTES = 22


def decode(blocks):
  """Decodes uint8 [n, 22] to float32 [n, 32]."""
  q = nibbles(blocks[:, 6:]) | fifth_bits(blocks[:, 2:6])
  return half(blocks, 0) * (q.astype(np.float32) - np.float32(16))

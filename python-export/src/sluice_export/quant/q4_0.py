"""Q4_0: 32 values in 18 bytes; scale d (float16), then halves: values 0-15 low, 16-31 high.

x = d * (q - 8)
"""

import numpy as np

from sluice_export.quant.bits import half, nibbles

BLOCK_SIZE = 32
BLOCK_BYTES = 18


def decode(blocks):
  """Decodes uint8 [n, 18] to float32 [n, 32]."""
  return half(blocks, 0) * (nibbles(blocks[:, 2:]).astype(np.float32) - np.float32(8))

"""Q4_K: 256 values in 144 bytes, as eight groups of 32.

d, dmin (float16), twelve bytes of scales (see bits.k_scales), 128 bytes of halves: each run of 32
bytes holds one group in its low halves and the next in its high halves.

x = (d * scale) * q - dmin * minimum
"""

import numpy as np

from sluice_export.quant.bits import half, k_scales

BLOCK_SIZE = 256
BLOCK_BYTES = 144


def decode(blocks):
  """Decodes uint8 [n, 144] to float32 [n, 256]."""
  count = blocks.shape[0]
  scales, minimums = k_scales(blocks[:, 4:16])
  packed = blocks[:, 16:].reshape(count, 4, 1, 32)
  q = np.concatenate([packed & np.uint8(0x0F), packed >> np.uint8(4)], axis=2)
  scale = (half(blocks, 0) * scales).reshape(count, 8, 1)
  minimum = (half(blocks, 2) * minimums).reshape(count, 8, 1)
  return (scale * q.reshape(count, 8, 32).astype(np.float32) - minimum).reshape(count, 256)

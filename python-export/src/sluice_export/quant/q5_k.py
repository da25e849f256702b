"""Q5_K: 256 values in 176 bytes: Q4_K's layout with 32 bytes of fifth bits before the halves.

Bit g of byte l is the fifth bit of value l of group g.

x = (d * scale) * q - dmin * minimum
"""

import numpy as np

from sluice_export.quant.bits import half, k_scales

BLOCK_SIZE = 256
BLOCK_BYTES = 176


def decode(blocks):
  """Decodes uint8 [n, 176] to float32 [n, 256]."""
  count = blocks.shape[0]
  scales, minimums = k_scales(blocks[:, 4:16])
  fifth = blocks[:, 16:48].reshape(count, 1, 32)
  group = np.arange(8, dtype=np.uint8).reshape(1, 8, 1)
  high = ((fifth >> group) & np.uint8(1)) << np.uint8(4)
  packed = blocks[:, 48:].reshape(count, 4, 1, 32)
  low = np.concatenate([packed & np.uint8(0x0F), packed >> np.uint8(4)], axis=2)
  q = (low.reshape(count, 8, 32) | high).astype(np.float32)
  scale = (half(blocks, 0) * scales).reshape(count, 8, 1)
  minimum = (half(blocks, 2) * minimums).reshape(count, 8, 1)
  return (scale * q - minimum).reshape(count, 256)

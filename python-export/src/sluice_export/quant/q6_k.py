"""Q6_K: 256 values in 210 bytes, as two halves of 128 values.

128 bytes of low four bits, 64 bytes of high two bits, sixteen signed scales, then d (float16). In
each half, values 0-31 and 32-63 are the low halves of 64 bytes, 64-95 and 96-127 their high halves;
the high two bits of the four quarters lie in bits 0-1, 2-3, 4-5 and 6-7 of 32 bytes. A scale covers
sixteen values.

x = (d * scale) * (q - 32)
"""

import numpy as np

from sluice_export.quant.bits import half

BLOCK_SIZE = 256
BLOCK_BYTES = 210


def decode(blocks):
  """Decodes uint8 [n, 210] to float32 [n, 256]."""
  count = blocks.shape[0]
  packed = blocks[:, :128].reshape(count, 2, 1, 64)
  low = np.concatenate([packed & np.uint8(0x0F), packed >> np.uint8(4)], axis=2)
  shift = np.array([0, 2, 4, 6], dtype=np.uint8).reshape(1, 1, 4, 1)
  high = (blocks[:, 128:192].reshape(count, 2, 1, 32) >> shift) & np.uint8(3)
  q = low.reshape(count, 2, 4, 32) | (high << np.uint8(4))
  scales = np.ascontiguousarray(blocks[:, 192:208]).view(np.int8).astype(np.float32)
  scale = (half(blocks, 208) * scales).reshape(count, 16, 1)
  values = q.astype(np.float32).reshape(count, 16, 16) - np.float32(32)
  return (scale * values).reshape(count, 256)

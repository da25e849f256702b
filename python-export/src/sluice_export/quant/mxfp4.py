"""MXFP4: 32 values in 17 bytes; scale byte s, then halves: values 0-15 low, 16-31 high.

x = 2^(s - 128) * v, v twice the value of the E2M1 code
"""

import numpy as np

from sluice_export.quant.bits import nibbles

BLOCK_SIZE = 32
BLOCK_BYTES = 17
_TWICE = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], dtype=np.float32)


def decode(blocks):
  """Decodes uint8 [n, 17] to float32 [n, 32]."""
  scale = np.ldexp(np.float32(1), blocks[:, :1].astype(np.int32) - 128)
  return scale * _TWICE[nibbles(blocks[:, 1:])]

"""Q8_0: 32 values in 34 bytes; scale d (float16), then 32 signed bytes.

x = d * q
"""

import numpy as np

from sluice_export.quant.bits import half

BLOCK_SIZE = 32
BLOCK_BYTES = 34


def decode(blocks):
  """Decodes uint8 [n, 34] to float32 [n, 32]."""
  return half(blocks, 0) * np.ascontiguousarray(blocks[:, 2:]).view(np.int8).astype(np.float32)

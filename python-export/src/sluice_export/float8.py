"""Eight-bit floats: E4M3 without infinities, and matrices of them with one scale per block.

Values are 1 sign, 4 exponent and 3 mantissa bits; the largest is 448, and the code with all
exponent and mantissa bits set is NaN.
"""

import numpy as np

from sluice_export.errors import ExportError

LARGEST = 448.0


def _values():
  codes = np.arange(128)
  exponent, mantissa = codes >> 3, codes & 7
  positive = np.where(exponent == 0, mantissa * 2.0**-9,
                      (1 + mantissa / 8) * 2.0 ** (exponent - 7))
  positive[127] = np.nan
  return np.concatenate([positive, -positive])


_VALUES = _values()


def decode(codes):
  """Decodes uint8 codes to float64, exactly."""
  return _VALUES[codes]


def encode(values):
  """Rounds to the nearest code, ties to the even one; past 448 is refused.

  Args:
    values: array of any shape.

  Returns:
    uint8 array of the same shape.
  """
  values = np.asarray(values, dtype=np.float64)
  magnitude = np.abs(values)
  if not np.all(magnitude <= LARGEST):
    raise ExportError("float8", f"{np.max(magnitude):.6g} or NaN", expected=f"at most {LARGEST}")
  grid = _VALUES[:127]
  upper = np.minimum(np.searchsorted(grid, magnitude), 126)
  lower = np.maximum(upper - 1, 0)
  below, above = magnitude - grid[lower], grid[upper] - magnitude
  down = (below < above) | ((below == above) & (lower % 2 == 0))
  codes = np.where(down, lower, upper).astype(np.uint8)
  return codes | np.where(np.signbit(values), np.uint8(128), np.uint8(0))


def spread(scales, shape, block):
  """Repeats each block's scale over its values; blocks at the edges are cut.

  Args:
    scales: [ceil(rows / block[0]), ceil(columns / block[1])].
    shape: (rows, columns).
    block: (rows, columns) of a block.
  """
  grid = tuple(-(-size // step) for size, step in zip(shape, block))
  if scales.shape != grid:
    raise ExportError("weight_scale_inv", f"shape {list(scales.shape)}", expected=list(grid))
  rows = np.repeat(scales, block[0], axis=0)[:shape[0]]
  return np.repeat(rows, block[1], axis=1)[:, :shape[1]]


def encode_blocks(matrix, block):
  """Encodes a matrix so that the largest value of every block becomes 448.

  Returns:
    (uint8 codes [rows, columns], float32 scales [row blocks, column blocks]); a value is its code's
    value times its block's scale.
  """
  rows, columns = matrix.shape
  grid = (-(-rows // block[0]), -(-columns // block[1]))
  scales = np.empty(grid, dtype=np.float32)
  for i in range(grid[0]):
    for j in range(grid[1]):
      part = matrix[i * block[0]:(i + 1) * block[0], j * block[1]:(j + 1) * block[1]]
      scales[i, j] = np.max(np.abs(part)) / LARGEST
  wide = spread(scales.astype(np.float64), matrix.shape, block)
  # A scale rounded down would lift the largest value past 448.
  scaled = np.clip(matrix / np.where(wide == 0, 1, wide), -LARGEST, LARGEST)
  return encode(scaled), scales


def decode_blocks(codes, scales, block):
  """Decodes a matrix of encode_blocks to float64, exactly."""
  return decode(codes) * spread(scales.astype(np.float64), codes.shape, block)

"""MXFP4 as gpt-oss checkpoints store it: `_blocks` and `_scales`.

A row of n values is n / 32 groups. Each group has one scale byte s, meaning 2^(s - 127) (E8M0), and
16 bytes of E2M1 codes: value 2 j is the low half of byte j, value 2 j + 1 the high half. (GGUF's
MXFP4 orders the halves differently: values 0-15 low, 16-31 high.)
"""

import numpy as np

from sluice_export.errors import ExportError

GROUP = 32
_MAGNITUDES = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
VALUES = np.concatenate([_MAGNITUDES, -_MAGNITUDES])
_BIAS = 127


def unpack(blocks, scales):
  """Returns (E2M1 codes, exponents), both [..., groups * 32] and [..., groups]."""
  if blocks.shape != (*scales.shape, GROUP // 2):
    raise ExportError("_blocks", f"shape {list(blocks.shape)}",
                      expected=[*scales.shape, GROUP // 2])
  codes = np.stack([blocks & 0x0F, blocks >> 4], axis=-1)
  return codes.reshape(*scales.shape[:-1], -1), scales.astype(np.int64) - _BIAS


def decode(blocks, scales):
  """Decodes to float64, exactly.

  Args:
    blocks: uint8 [..., groups, 16].
    scales: uint8 [..., groups].

  Returns:
    [..., groups * 32].
  """
  codes, exponents = unpack(blocks, scales)
  return VALUES[codes] * np.repeat(np.ldexp(1.0, exponents), GROUP, axis=-1)


def encode(values):
  """Rounds to MXFP4: the scale is the power of two that puts a group's largest value in [4, 8).

  Args:
    values: [..., n], n a multiple of 32.

  Returns:
    (blocks uint8 [..., n / 32, 16], scales uint8 [..., n / 32]).
  """
  if values.shape[-1] % GROUP:
    raise ExportError("MXFP4", f"rows of {values.shape[-1]}", expected=f"a multiple of {GROUP}")
  groups = values.reshape(*values.shape[:-1], -1, GROUP)
  largest = np.max(np.abs(groups), axis=-1)
  exponents = np.frexp(np.where(largest == 0, 1.0, largest))[1] - 3
  scales = np.clip(exponents + _BIAS, 0, 254)
  scaled = np.abs(groups) * np.ldexp(1.0, _BIAS - scales)[..., None]
  # The midpoints between neighbours; a value on one goes to the even code.
  middles = (_MAGNITUDES[1:] + _MAGNITUDES[:-1]) / 2
  low = np.searchsorted(middles, scaled, side="left")
  high = np.searchsorted(middles, scaled, side="right")
  codes = np.where(low % 2 == 0, low, high).astype(np.uint8)
  codes |= np.where(np.signbit(groups), np.uint8(8), np.uint8(0))
  return codes[..., 0::2] | (codes[..., 1::2] << 4), scales.astype(np.uint8)

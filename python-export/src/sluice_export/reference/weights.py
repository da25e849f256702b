"""The weights of a checkpoint as plain arrays, whatever their storage."""

import numpy as np

from sluice_export import float8, mxfp4
from sluice_export.dtypes import FLOAT_TYPES, float32_from_bfloat16
from sluice_export.errors import ExportError

_DEFAULT_BLOCK = (128, 128)


class Weights:
  """Decoded weights by name.

  An E4M3 matrix is multiplied by its `_scale_inv`; `NAME_blocks` with `NAME_scales` is found as
  NAME, [experts, rows, columns].
  """

  def __init__(self, tensors, settings, dtype=np.float64, change=None):
    """Prepares the weights; each is decoded when first asked for.

    Args:
      tensors: list of Tensor.
      settings: config.json's object, for the block size of E4M3 matrices.
      dtype: element type of the arrays; values are exact in float64, rounded once in float32.
      change: applied to every decoded array, or None.
    """
    self._tensors = {tensor.name: tensor for tensor in tensors}
    self._dtype = dtype
    self._change = change if change is not None else lambda values: values
    self._decoded = {}
    quantization = settings.get("quantization_config") or {}
    self._block = tuple(quantization.get("weight_block_size", _DEFAULT_BLOCK))

  def __contains__(self, name):
    return name in self._tensors or f"{name}_blocks" in self._tensors

  def __getitem__(self, name):
    if name not in self._decoded:
      self._decoded[name] = self._change(self._decode(name)).astype(self._dtype)
    return self._decoded[name]

  def get(self, name):
    """Returns the weight, or None."""
    return self[name] if name in self else None

  def _decode(self, name):
    if f"{name}_blocks" in self._tensors:
      return mxfp4.decode(self._load(f"{name}_blocks", "U8"), self._load(f"{name}_scales", "U8"))
    tensor = self._tensors.get(name)
    if tensor is None:
      raise ExportError(name, "is missing", expected="a weight of this architecture")
    if tensor.dtype == "F8_E4M3":
      scales = self._load(f"{name}_scale_inv", "F32")
      return float8.decode_blocks(tensor.load(), scales, self._block)
    if tensor.dtype not in FLOAT_TYPES:
      raise ExportError(name, f"has type {tensor.dtype}", expected=", ".join(FLOAT_TYPES))
    values = tensor.load()
    return float32_from_bfloat16(values) if tensor.dtype == "BF16" else values

  def _load(self, name, dtype):
    tensor = self._tensors.get(name)
    if tensor is None or tensor.dtype != dtype:
      raise ExportError(name, "is missing" if tensor is None else f"has type {tensor.dtype}",
                        expected=dtype)
    return tensor.load()

"""A tensor that is read only when it is wanted."""

from dataclasses import dataclass, replace
from typing import Callable, Tuple

import numpy as np

from sluice_export.dtypes import NUMPY_TYPES, cast


@dataclass(frozen=True)
class Tensor:
  """A named tensor and the way to read it.

  Attributes:
    name: name in its checkpoint.
    dtype: storage name, see dtypes.NUMPY_TYPES.
    shape: sizes, slowest axis first.
    load: returns the values, shape `shape`, element type NUMPY_TYPES[dtype]. Called once per write;
      nothing is kept, so that a conversion holds one tensor in memory at a time.
  """

  name: str
  dtype: str
  shape: Tuple[int, ...]
  load: Callable[[], np.ndarray]

  @property
  def nbytes(self):
    """Bytes of the values as stored."""
    count = 1
    for size in self.shape:
      count *= size
    return count * NUMPY_TYPES[self.dtype].itemsize

  def renamed(self, name):
    """Returns the same tensor under another name."""
    return replace(self, name=name)

  def as_dtype(self, dtype):
    """Returns this tensor converted to another floating-point type when it is loaded."""
    if dtype == self.dtype:
      return self
    load, source, name = self.load, self.dtype, self.name
    return replace(self, dtype=dtype, load=lambda: cast(load(), source, dtype, name))

  def mapped(self, function):
    """Returns this tensor with `function`, which keeps shape and type, applied when loaded."""
    load = self.load
    return replace(self, load=lambda: function(load()))


def from_array(name, dtype, values):
  """Wraps an array that is already in memory."""
  values = np.asarray(values, dtype=NUMPY_TYPES[dtype], order="C")
  return Tensor(name, dtype, tuple(values.shape), lambda: values)

"""Constants of the GGUF container, versions 2 and 3, little-endian."""

from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

MAGIC = b"GGUF"
VERSIONS = (2, 3)
WRITE_VERSION = 3
DEFAULT_ALIGNMENT = 32

# Limits against hostile files; real files stay far below.
MAX_TENSORS = 100_000
MAX_METADATA = 100_000
MAX_KEY_BYTES = 65_535
MAX_NAME_BYTES = 63
MAX_DIMENSIONS = 4
MAX_ALIGNMENT = 1 << 20

# Value types of metadata.
UINT8, INT8, UINT16, INT16, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64, INT64, FLOAT64 = (
    range(13))

SCALAR_TYPES = {
    UINT8: np.dtype("u1"),
    INT8: np.dtype("i1"),
    UINT16: np.dtype("<u2"),
    INT16: np.dtype("<i2"),
    UINT32: np.dtype("<u4"),
    INT32: np.dtype("<i4"),
    FLOAT32: np.dtype("<f4"),
    BOOL: np.dtype("u1"),
    UINT64: np.dtype("<u8"),
    INT64: np.dtype("<i8"),
    FLOAT64: np.dtype("<f8"),
}

# Ids of tensor types. Those that are not decoded are listed to be named in messages.
TENSOR_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1",
    10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS",
    17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS",
    24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16", 34: "TQ1_0",
    35: "TQ2_0", 39: "MXFP4",
}
PLAIN_TYPES = ("F32", "F16", "BF16")
TENSOR_TYPE_IDS = {TENSOR_TYPES[i]: i for i in (0, 1, 30, 39)}

# general.file_type for files whose matrices are all of one plain type.
FILE_TYPES = {"F32": 0, "F16": 1, "BF16": 32}


@dataclass(frozen=True)
class Value:
  """One metadata value with the type it is stored as.

  Attributes:
    type: one of the value types above.
    value: int, float, bool or str; for ARRAY a list of str or a numpy array.
    item_type: type of the items of an ARRAY, else None.
  """

  type: int
  value: Any
  item_type: Optional[int] = None


def uint32(value):
  """A UINT32 value."""
  return Value(UINT32, int(value))


def float32(value):
  """A FLOAT32 value."""
  return Value(FLOAT32, float(value))


def boolean(value):
  """A BOOL value."""
  return Value(BOOL, bool(value))


def string(value):
  """A STRING value."""
  return Value(STRING, str(value))


def strings(values):
  """An ARRAY of STRING."""
  return Value(ARRAY, list(values), STRING)


def int32s(values):
  """An ARRAY of INT32."""
  return Value(ARRAY, np.asarray(values, dtype="<i4"), INT32)

"""Element types, and bfloat16 in numpy.

numpy has no bfloat16. An array of dtype "BF16" is therefore carried as uint16 holding the bits.
"""

import numpy as np

from sluice_export.errors import ExportError

# Storage names are those of safetensors.
NUMPY_TYPES = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    # Carried as the codes of float8.py.
    "F8_E4M3": np.dtype("u1"),
}

FLOAT_TYPES = ("F64", "F32", "F16", "BF16")

# The --dtype option and config.json's torch_dtype use the long names.
STORAGE_OF = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
LONG_NAME_OF = {storage: name for name, storage in STORAGE_OF.items()}

_RUN = 1 << 20

_LARGEST = {"F16": 65504.0, "BF16": 3.3895313892515355e38, "F32": 3.4028234663852886e38}


def storage_type(name):
  """Returns the storage name of a --dtype value such as "bfloat16"."""
  try:
    return STORAGE_OF[name]
  except KeyError:
    raise ExportError("--dtype", name, expected=", ".join(STORAGE_OF)) from None


def bfloat16_from_float32(values):
  """Rounds float32 to bfloat16, to nearest with ties to even.

  Args:
    values: float32 array of any shape.

  Returns:
    uint16 array of the same shape. Infinities stay, NaN stays NaN, values past the largest finite
    bfloat16 become infinite.
  """
  bits = np.asarray(values, dtype="<f4", order="C").view("<u4")
  # Half of the dropped range, less one unless the kept part is odd: ties go to the even neighbour.
  bias = ((bits >> np.uint32(16)) & np.uint32(1)) + np.uint32(0x7FFF)
  rounded = ((bits + bias) >> np.uint32(16)).astype("<u2")
  is_nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
  if is_nan.any():
    # The bias could carry a NaN into an infinity; keep its sign and set the quiet bit.
    quiet = ((bits >> np.uint32(16)) | np.uint32(0x0040)).astype("<u2")
    rounded = np.where(is_nan, quiet, rounded)
  return rounded


def float32_from_bfloat16(bits):
  """Widens bfloat16 bits (uint16 array) to float32, exactly."""
  wide = np.asarray(bits, dtype="<u2", order="C").astype("<u4")
  return (wide << np.uint32(16)).view("<f4")


def cast(values, source, target, name="tensor"):
  """Converts an array between the floating-point storage types, to nearest with ties to even.

  Args:
    values: array as NUMPY_TYPES[source] (uint16 bits for BF16).
    source: storage name of `values`.
    target: storage name wanted.
    name: tensor's name, for the error message.

  Returns:
    Array as NUMPY_TYPES[target].

  Raises:
    ExportError: a finite value does not fit in the range of `target`, or one of the types is not
      a floating-point type.
  """
  if source == target:
    return values
  if source not in FLOAT_TYPES or target not in FLOAT_TYPES:
    raise ExportError(name, f"{source} to {target}", expected="floating-point types")
  flat = np.asarray(values, order="C").reshape(-1)
  result = np.empty(flat.shape, dtype=NUMPY_TYPES[target])
  # In runs, so that the temporaries stay small beside the result.
  for start in range(0, flat.size, _RUN):
    run = flat[start:start + _RUN]
    wide = float32_from_bfloat16(run) if source == "BF16" else run
    _check_range(wide, source, target, name)
    with np.errstate(over="ignore"):
      if target == "BF16":
        result[start:start + _RUN] = bfloat16_from_float32(wide.astype("<f4", copy=False))
      else:
        result[start:start + _RUN] = wide
  return result.reshape(np.shape(values))


def _check_range(values, source, target, name):
  if target == "F64" or (target == "F32" and source != "F64"):
    return
  finite = np.isfinite(values)
  largest = float(np.max(np.abs(values), where=finite, initial=0.0))
  if largest > _LARGEST[target]:
    remedy = "choose --dtype float32" if target == "BF16" else "choose --dtype bfloat16 or float32"
    raise ExportError(name, f"holds {largest:.6g}, too large for {LONG_NAME_OF[target]}",
                      expected=f"at most {_LARGEST[target]:.6g}", remedy=remedy)

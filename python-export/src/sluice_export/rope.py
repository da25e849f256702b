"""Rotary position scaling: Hugging Face's settings and GGUF's."""

import math
from dataclasses import dataclass
from typing import Optional

import numpy as np

from sluice_export.errors import ExportError

TYPES = ("default", "linear", "dynamic", "llama3", "yarn")


@dataclass(frozen=True)
class RopeScaling:
  """How rotary frequencies are changed for long contexts.

  Attributes:
    type: "linear", "dynamic", "llama3" or "yarn".
    factor: by how much the context is stretched.
    original_context: context length of the first training; None for linear and dynamic.
    low_freq_factor, high_freq_factor: llama3 only.
  """

  type: str
  factor: float
  original_context: Optional[int] = None
  low_freq_factor: Optional[float] = None
  high_freq_factor: Optional[float] = None


def from_config(config):
  """Reads rope_theta and the scaling from config.json, in the old or the new spelling.

  Returns:
    (theta or None, RopeScaling or None).
  """
  settings = config.get("rope_parameters")
  theta = config.get("rope_theta")
  if settings is None:
    settings = config.get("rope_scaling") or {}
  if not isinstance(settings, dict):
    raise ExportError("rope_parameters", settings, expected="an object")
  theta = settings.get("rope_theta", theta)
  if theta is not None:
    theta = _positive("rope_theta", theta)
  kind = settings.get("rope_type", settings.get("type", "default"))
  if kind not in TYPES:
    raise ExportError("rope_type", kind, expected=", ".join(TYPES))
  if settings.get("partial_rotary_factor", 1.0) != 1.0:
    raise ExportError("partial_rotary_factor", settings["partial_rotary_factor"], expected="1.0")
  if kind == "default":
    return theta, None
  factor = _positive("rope_scaling.factor", settings.get("factor"))
  if kind == "linear" or kind == "dynamic":
    return theta, RopeScaling(kind, factor)
  original = settings.get("original_max_position_embeddings",
                          config.get("max_position_embeddings"))
  original = int(_positive("original_max_position_embeddings", original))
  if kind == "llama3":
    return theta, RopeScaling(
        kind, factor, original,
        _positive("low_freq_factor", settings.get("low_freq_factor")),
        _positive("high_freq_factor", settings.get("high_freq_factor")))
  _check_yarn(settings, factor)
  return theta, RopeScaling(kind, factor, original)


def to_config(scaling):
  """Returns the value of config.json's rope_scaling."""
  if scaling is None:
    return None
  settings = {"rope_type": scaling.type, "factor": scaling.factor}
  if scaling.original_context is not None:
    settings["original_max_position_embeddings"] = scaling.original_context
  if scaling.low_freq_factor is not None:
    settings["low_freq_factor"] = scaling.low_freq_factor
    settings["high_freq_factor"] = scaling.high_freq_factor
  return settings


def llama3_divisors(theta, head_dim, scaling):
  """Returns the divisor of each rotary frequency: GGUF's rope_freqs.weight.

  Wavelengths below original_context / high_freq_factor stay, those above original_context /
  low_freq_factor are divided by the factor, those between are blended.

  Returns:
    float32 [head_dim / 2].
  """
  wavelength = _wavelengths(theta, head_dim)
  low, high = scaling.low_freq_factor, scaling.high_freq_factor
  blend = (scaling.original_context / wavelength - low) / (high - low)
  blend = np.clip(blend, 0.0, 1.0)
  return (1.0 / ((1.0 - blend) / scaling.factor + blend)).astype("<f4")


def llama3_from_divisors(theta, divisors):
  """Finds llama3 settings that give these divisors.

  Only the divisors matter to a model, and the four settings are not unique: low_freq_factor is
  taken as 1, as all published models have it, and high_freq_factor as 4 where that fits.

  Raises:
    ExportError: no llama3 settings give the divisors.
  """
  head_dim = 2 * len(divisors)
  values = np.asarray(divisors, dtype=np.float64)
  wavelength = _wavelengths(theta, head_dim)
  factor = _round(float(values.max()))
  if values.min() >= 0.999 and factor > 1:
    between = (values > 1 + 1e-5) & (values < factor * (1 - 1e-5))
    # blend = original / (wavelength * (high - low)) - low / (high - low)
    blend = (1.0 / values - 1.0 / factor) / (1.0 - 1.0 / factor)
    for original, high in _candidates(wavelength, blend, between, values, factor):
      if original < 1 or high <= 1:
        continue
      scaling = RopeScaling("llama3", factor, original, 1.0, high)
      if np.allclose(llama3_divisors(theta, head_dim, scaling), values, rtol=2e-6, atol=0):
        return scaling
  raise ExportError("rope_freqs.weight", f"{values[:4].tolist()}... is no llama3 scaling",
                    expected="the factors of a llama3 rope_scaling")


def _candidates(wavelength, blend, between, values, factor):
  """Yields (original_context, high_freq_factor), the usual ones first."""
  if between.any():
    where = np.flatnonzero(between)
    middle = where[len(where) // 2]
    yield round(float(wavelength[middle] * (1.0 + 3.0 * blend[middle]))), 4.0
    if len(where) > 1:
      first, last = where[0], where[-1]
      slope = (blend[first] - blend[last]) / (1 / wavelength[first] - 1 / wavelength[last])
      intercept = blend[first] - slope / wavelength[first]
      high = _round(1.0 - 1.0 / intercept) if intercept < 0 else 0.0
      yield round(float(slope * (high - 1.0))), high
    return
  # No frequency is blended: any bounds between the two groups do.
  kept, divided = wavelength[values < factor], wavelength[values >= factor]
  longest_kept = float(kept.max()) if kept.size else float(divided.min()) / 8
  for power in range(1, 32):
    if longest_kept * 4.0 <= 2 ** power <= float(divided.min()):
      yield 2 ** power, 4.0
  yield max(1, math.floor(divided.min())), math.floor(divided.min()) / longest_kept


def _wavelengths(theta, head_dim):
  exponent = np.arange(0, head_dim, 2, dtype=np.float64) / head_dim
  return 2.0 * math.pi * float(theta) ** exponent


def _round(value):
  """Takes off what float32 added to a round number."""
  return float(f"{value:.5g}")


def _positive(key, value):
  if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e300:
    raise ExportError(key, value, expected="a positive number")
  return float(value)


def _check_yarn(settings, factor):
  """GGUF has no place for changed YaRN constants, so only the usual ones pass."""
  usual = {"beta_fast": 32.0, "beta_slow": 1.0, "truncate": True,
           "attention_factor": 0.1 * math.log(factor) + 1.0 if factor > 1 else 1.0}
  for key, value in usual.items():
    given = settings.get(key)
    if given is not None and abs(float(given) - float(value)) > 1e-6:
      raise ExportError(f"rope_scaling.{key}", given, expected=value)
  for key in ("mscale", "mscale_all_dim"):
    if settings.get(key):
      raise ExportError(f"rope_scaling.{key}", settings[key], expected="absent")

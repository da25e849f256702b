"""Rotary position scaling: Hugging Face's settings and GGUF's."""

import math
from dataclasses import dataclass
from typing import Optional

import numpy as np

from sluice_export.errors import ExportError

# Relative distance below which a divisor counts as 1 or as the whole factor.
_NEAR = 1e-5

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
  factor = _round(float(values.max()))
  if np.isfinite(values).all() and values.min() > 1 - _NEAR and factor > 1:
    for original, high in _candidates(_wavelengths(theta, head_dim), values, factor):
      if not (0.5 <= original < 1 << 31 and high > 1):
        continue
      # original_context is a whole number; the other bounds move along with its rounding.
      whole = round(original)
      for scale in (1.0, whole / original):
        scaling = RopeScaling("llama3", factor, whole, scale, high * scale)
        if np.allclose(llama3_divisors(theta, head_dim, scaling), values, rtol=2e-6, atol=0):
          return scaling
  raise ExportError("rope_freqs.weight", f"{values[:4].tolist()}... is no llama3 scaling",
                    expected="the factors of a llama3 rope_scaling")


def _candidates(wavelength, values, factor):
  """Yields (original_context, high_freq_factor) for low_freq_factor 1, the usual ones first."""
  blended = np.flatnonzero((values > 1 + _NEAR) & (values < factor * (1 - _NEAR)))
  # blend = (original / wavelength - 1) / (high - 1)
  blend = (1.0 / values - 1.0 / factor) / (1.0 - 1.0 / factor)
  if len(blended):
    middle = blended[len(blended) // 2]
    yield float(wavelength[middle] * (1.0 + 3.0 * blend[middle])), 4.0
  if len(blended) > 1:
    first, last = blended[0], blended[-1]
    slope = (blend[first] - blend[last]) / (1 / wavelength[first] - 1 / wavelength[last])
    intercept = blend[first] - slope / wavelength[first]
    if intercept < 0:
      high = _round(1.0 - 1.0 / intercept)
      yield float(slope * (high - 1.0)), high
  elif len(blended) == 1:
    # One equation for two numbers: the closer the bounds, the fewer neighbours lie between them.
    for high in (8.0, 2.0, 1.5, 1.2, 1.1, 1.05, 1.02, 1.01):
      yield float(wavelength[middle] * (1.0 + (high - 1.0) * blend[middle])), high
  else:
    # Any bounds between the two groups do.
    divided = wavelength[values > 1 + _NEAR].min()
    kept = wavelength[values <= 1 + _NEAR]
    kept = float(kept.max()) if kept.size else float(divided) / 8.0
    for power in range(1, 31):
      if 4.0 * kept <= 2 ** power <= divided:
        yield float(2 ** power), 4.0
    yield float(divided) * 0.999, float(divided) * 0.998 / kept


def _wavelengths(theta, head_dim):
  exponent = np.arange(0, head_dim, 2, dtype=np.float64) / head_dim
  return 2.0 * math.pi * float(theta) ** exponent


def _round(value):
  """Takes off what float32 added to a round number; leaves any other number."""
  short = float(f"{value:.5g}")
  return short if abs(short - value) <= 1e-6 * abs(value) else value


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
    if given is None:
      continue
    if not isinstance(given, (bool, int, float)) or abs(float(given) - float(value)) > 1e-6:
      raise ExportError(f"rope_scaling.{key}", given, expected=value)
  for key in ("mscale", "mscale_all_dim"):
    if settings.get(key):
      raise ExportError(f"rope_scaling.{key}", settings[key], expected="absent")

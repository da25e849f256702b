"""Rotary position embedding: plain and YaRN."""

import math

import numpy as np

from sluice_export.errors import ExportError


def parameters(settings):
  """Returns one object with rope_theta and the scaling, from either spelling of config.json."""
  found = dict(settings.get("rope_parameters") or settings.get("rope_scaling") or {})
  found.setdefault("rope_type", found.get("type", "default"))
  found.setdefault("rope_theta", settings.get("rope_theta", 10000.0))
  if found["rope_type"] not in ("default", "yarn"):
    raise ExportError("rope_type", found["rope_type"], expected="default or yarn")
  return found


def magnitude(factor, mscale=1.0):
  """Returns YaRN's correction of magnitudes for a stretch by `factor`."""
  return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def tables(rope, dim, length):
  """Returns (cos, sin), [length, dim / 2] each, magnitude included.

  Args:
    rope: what `parameters` returned.
    dim: rotated numbers per head.
    length: positions from 0.
  """
  pair = np.arange(dim // 2)
  frequencies = rope["rope_theta"] ** (-2.0 * pair / dim)
  scale = 1.0
  if rope["rope_type"] == "yarn":
    frequencies, scale = _stretch(rope, dim, pair, frequencies)
  angles = np.arange(length)[:, None] * frequencies
  return np.cos(angles) * scale, np.sin(angles) * scale


def _stretch(rope, dim, pair, frequencies):
  theta, factor = rope["rope_theta"], rope["factor"]
  original = rope["original_max_position_embeddings"]

  def turning(turns):
    # The pair whose angle makes `turns` turns within the original context.
    return dim * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))

  first, last = turning(rope.get("beta_fast") or 32), turning(rope.get("beta_slow") or 1)
  if rope.get("truncate", True):
    first, last = math.floor(first), math.ceil(last)
  first, last = max(first, 0), min(last, dim - 1)
  if first == last:
    last += 0.001
  stretched = np.clip((pair - first) / (last - first), 0, 1)
  frequencies = frequencies * (stretched / factor + 1 - stretched)
  if rope.get("attention_factor") is not None:
    return frequencies, rope["attention_factor"]
  mscale, all_dim = rope.get("mscale"), rope.get("mscale_all_dim")
  if mscale and all_dim:
    return frequencies, magnitude(factor, mscale) / magnitude(factor, all_dim)
  return frequencies, magnitude(factor)


def rotate_halves(x, cos, sin):
  """Rotates pairs (i, i + dim / 2) of x [heads, T, dim]."""
  first, second = np.split(x, 2, axis=-1)
  return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def rotate_neighbours(x, cos, sin):
  """Rotates pairs (2 i, 2 i + 1) of x [heads, T, dim]."""
  first, second = x[..., 0::2], x[..., 1::2]
  turned = np.stack([first * cos - second * sin, second * cos + first * sin], axis=-1)
  return turned.reshape(x.shape)

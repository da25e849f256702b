"""The pieces that every layer uses."""

import numpy as np


def linear(x, weights, name):
  """Returns x W^T + b for the weight `name`.weight [out, in] and, if there, `name`.bias."""
  result = x @ weights[f"{name}.weight"].T
  bias = weights.get(f"{name}.bias")
  return result if bias is None else result + bias


def rms_norm(x, weight, eps):
  """Divides by the root mean square over the last axis, then scales."""
  return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + x.dtype.type(eps)) * weight


def sigmoid(x):
  """Returns 1 / (1 + e^-x) without overflow."""
  small = np.exp(-np.abs(x))
  return np.where(x >= 0, 1, small) / (1 + small)


def silu(x):
  """Returns x sigmoid(x)."""
  return x * sigmoid(x)


def softmax(x):
  """Returns the softmax over the last axis."""
  weights = np.exp(x - x.max(axis=-1, keepdims=True))
  return weights / weights.sum(axis=-1, keepdims=True)


def top(scores, count):
  """Returns the indices of the `count` largest of each row, largest first."""
  return np.argsort(-scores, axis=-1, kind="stable")[..., :count]

"""Packages that only some commands need."""

import importlib

from sluice_export.errors import MissingDependencyError


def require(name, purpose, remedy="run: pip install torch transformers"):
  """Imports an optional package.

  Args:
    name: "torch", "transformers" or "lm_eval".
    purpose: what needs it, for the message.
    remedy: how it is installed.

  Raises:
    MissingDependencyError: it is not installed; the message says how to install it.
  """
  try:
    return importlib.import_module(name)
  except ImportError as error:
    problem = "is not installed" if error.name == name else f"cannot be loaded ({error})"
    raise MissingDependencyError(
        name, f"{problem}, and {purpose} needs it", remedy=remedy) from error

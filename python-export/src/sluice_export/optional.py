"""Packages that only some commands need."""

import importlib

from sluice_export.errors import MissingDependencyError


def require(name, purpose):
  """Imports an optional package.

  Args:
    name: "torch" or "transformers".
    purpose: what needs it, for the message.

  Raises:
    MissingDependencyError: it is not installed; the message says how to install it.
  """
  try:
    return importlib.import_module(name)
  except ImportError as error:
    problem = "is not installed" if error.name == name else f"cannot be loaded ({error})"
    raise MissingDependencyError(
        name, f"{problem}, and {purpose} needs it", remedy="run: pip install torch transformers"
    ) from error

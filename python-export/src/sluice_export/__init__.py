"""Checkpoint conversion and golden outputs for Sluice."""

from sluice_export.errors import ExportError, MissingDependencyError

__version__ = "0.1.0"
__all__ = ["ExportError", "MissingDependencyError", "__version__"]

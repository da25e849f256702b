"""JSON as checkpoints hold it, without the parser's leniency."""

import json
from pathlib import Path

from sluice_export.errors import ExportError


def parse_object(data, name):
  """Parses bytes as one JSON object.

  Args:
    data: the bytes.
    name: the file's name, for messages.

  Raises:
    ExportError: not UTF-8, not JSON, a key twice in one object, nested too deep, or not an object.
  """
  def no_duplicates(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
      seen = set()
      twice = next(key for key, _ in pairs if key in seen or seen.add(key))
      raise ExportError(name, f"key {twice!r} occurs twice", expected="once")
    return result

  def no_constants(constant):
    raise ExportError(name, f"number {constant}", expected="a finite number")

  try:
    value = json.loads(data.decode("utf-8"), object_pairs_hook=no_duplicates,
                       parse_constant=no_constants)
  except UnicodeDecodeError as error:
    raise ExportError(name, f"invalid UTF-8 at byte {error.start}", expected="UTF-8") from None
  except ValueError as error:
    raise ExportError(name, f"not JSON: {error}", expected="a JSON object") from None
  except RecursionError:
    raise ExportError(name, "nested too deep", expected="plain JSON") from None
  if not isinstance(value, dict):
    raise ExportError(name, f"a JSON {type(value).__name__}", expected="a JSON object")
  return value


def read_object(path):
  """Parses a file as one JSON object; see parse_object."""
  path = Path(path)
  return parse_object(path.read_bytes(), path.name)

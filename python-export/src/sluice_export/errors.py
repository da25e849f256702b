"""Errors that a user can act on."""


class ExportError(Exception):
  """A refusal: names the value, what was expected and what to do about it.

  The message is one line. `exit_code` is what the command line returns for it.
  """

  exit_code = 1

  def __init__(self, item, problem, expected=None, remedy=None):
    """Builds the message `item: problem (expected: ...); remedy`.

    Args:
      item: what is wrong: a file, a tensor, a key or an option.
      problem: the value that was found.
      expected: what would have been right, or None.
      remedy: what the user can do, or None.
    """
    self.item = str(item)
    self.problem = str(problem)
    self.expected = expected
    self.remedy = remedy
    message = f"{self.item}: {self.problem}"
    if expected is not None:
      message += f" (expected: {expected})"
    if remedy is not None:
      message += f"; {remedy}"
    # A hostile file may carry line breaks in a name; the message stays one line all the same.
    super().__init__(" ".join(message.split()))


class MissingDependencyError(ExportError):
  """An optional package is needed and not installed."""

  exit_code = 2

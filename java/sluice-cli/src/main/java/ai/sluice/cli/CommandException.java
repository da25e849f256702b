package ai.sluice.cli;

import org.jspecify.annotations.Nullable;

/** A command cannot do its work for a reason outside the engine. Shown as one line; exit code 1. */
final class CommandException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /**
   * Creates the exception.
   *
   * @param message the value met, what was expected, and the remedy
   */
  CommandException(String message) {
    this(message, null);
  }

  CommandException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}

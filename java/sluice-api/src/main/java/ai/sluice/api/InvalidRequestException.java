package ai.sluice.api;

import org.jspecify.annotations.Nullable;

/** A request or an option has a value that cannot be served; nothing was started or changed. */
public final class InvalidRequestException extends SluiceException {
  private static final long serialVersionUID = 1L;

  /**
   * Creates the exception.
   *
   * @param message the value met, what was expected, and the remedy
   */
  public InvalidRequestException(String message) {
    this(message, null);
  }

  /**
   * Creates the exception with its cause.
   *
   * @param message the value met, what was expected, and the remedy
   * @param cause the failure underneath, or null
   */
  public InvalidRequestException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}

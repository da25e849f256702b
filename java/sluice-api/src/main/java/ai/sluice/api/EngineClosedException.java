package ai.sluice.api;

import org.jspecify.annotations.Nullable;

/** The engine was closed before or during the call. */
public final class EngineClosedException extends SluiceException {
  private static final long serialVersionUID = 1L;

  /**
   * Creates the exception.
   *
   * @param message the value met, what was expected, and the remedy
   */
  public EngineClosedException(String message) {
    this(message, null);
  }

  /**
   * Creates the exception with its cause.
   *
   * @param message the value met, what was expected, and the remedy
   * @param cause the failure underneath, or null
   */
  public EngineClosedException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}

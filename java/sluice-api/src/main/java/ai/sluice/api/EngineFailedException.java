package ai.sluice.api;

import org.jspecify.annotations.Nullable;

/**
 * The engine met a fault it cannot recover from. It stays failed: every later call throws this
 * again.
 */
public final class EngineFailedException extends SluiceException {
  private static final long serialVersionUID = 1L;

  /**
   * Creates the exception.
   *
   * @param message the value met, what was expected, and the remedy
   */
  public EngineFailedException(String message) {
    this(message, null);
  }

  /**
   * Creates the exception with its cause.
   *
   * @param message the value met, what was expected, and the remedy
   * @param cause the failure underneath, or null
   */
  public EngineFailedException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}

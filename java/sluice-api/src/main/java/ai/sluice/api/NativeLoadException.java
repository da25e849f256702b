package ai.sluice.api;

import org.jspecify.annotations.Nullable;

/**
 * The native library could not be loaded. The message lists every place tried and why it failed.
 */
public final class NativeLoadException extends SluiceException {
  private static final long serialVersionUID = 1L;

  /**
   * Creates the exception.
   *
   * @param message the value met, what was expected, and the remedy
   */
  public NativeLoadException(String message) {
    this(message, null);
  }

  /**
   * Creates the exception with its cause.
   *
   * @param message the value met, what was expected, and the remedy
   * @param cause the failure underneath, or null
   */
  public NativeLoadException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}

package ai.sluice.api;

import org.jspecify.annotations.Nullable;

/**
 * The checkpoint is well formed but describes a model, a setting or a platform that Sluice cannot
 * run. The message names the key, its value and what is supported.
 */
public final class UnsupportedModelException extends SluiceException {
  private static final long serialVersionUID = 1L;

  /**
   * Creates the exception.
   *
   * @param message the value met, what was expected, and the remedy
   */
  public UnsupportedModelException(String message) {
    this(message, null);
  }

  /**
   * Creates the exception with its cause.
   *
   * @param message the value met, what was expected, and the remedy
   * @param cause the failure underneath, or null
   */
  public UnsupportedModelException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}

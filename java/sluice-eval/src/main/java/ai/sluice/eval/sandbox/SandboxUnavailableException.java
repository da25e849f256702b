package ai.sluice.eval.sandbox;

import ai.sluice.eval.EvalException;
import org.jspecify.annotations.Nullable;

/** Generated code cannot be run safely here. The message says why, and what helps. */
public final class SandboxUnavailableException extends EvalException {
  private static final long serialVersionUID = 1L;

  /** Creates the exception: the reason with its remedy. */
  public SandboxUnavailableException(String message) {
    this(message, null);
  }

  /** Creates the exception with the failure underneath. */
  public SandboxUnavailableException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}

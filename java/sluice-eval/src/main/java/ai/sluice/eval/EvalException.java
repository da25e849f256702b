package ai.sluice.eval;

import org.jspecify.annotations.Nullable;

/**
 * An evaluation cannot go on for a reason outside of it: a server, the network, a file system. The
 * message says the value met, what was expected, and the remedy.
 */
public class EvalException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** Creates the exception: the value met, what was expected, and the remedy. */
  public EvalException(String message) {
    this(message, null);
  }

  /** Creates the exception with the failure underneath. */
  public EvalException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}

package ai.sluice.openai.batch;

import org.jspecify.annotations.Nullable;

/**
 * A batch cannot go on: a file cannot be read or written, or every engine has failed. What was
 * answered is in the output, and the same run continues from there.
 */
public final class BatchException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** Creates the exception: the file or value, what was expected, and the remedy. */
  public BatchException(String message) {
    this(message, null);
  }

  /** Creates the exception with the failure underneath. */
  public BatchException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}

package ai.sluice.openai;

import org.jspecify.annotations.Nullable;

/** A body cannot be answered; {@link #error} is what its sender is told. */
public final class OpenAiException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final transient OpenAiError error;

  /** Creates the exception of an error. */
  public OpenAiException(OpenAiError error) {
    this(error, null);
  }

  /** Creates the exception of an error with the failure underneath. */
  public OpenAiException(OpenAiError error, @Nullable Throwable cause) {
    super(error.message(), cause);
    this.error = error;
  }

  /** What the sender is told. */
  public OpenAiError error() {
    return error;
  }
}

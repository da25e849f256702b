package ai.sluice.eval.endpoint;

import ai.sluice.eval.EvalException;
import java.net.URI;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/** A server did not answer, or answered something that is of no use. */
public final class EndpointException extends EvalException {
  private static final long serialVersionUID = 1L;

  private final URI uri;
  private final int status;

  EndpointException(URI uri, int status, String message, @Nullable Throwable cause) {
    super(uri + ": " + message, cause);
    this.uri = uri;
    this.status = status;
  }

  /** The message without the URL and without what was expected. */
  String met() {
    String message = String.valueOf(getMessage());
    int end = message.lastIndexOf(" (expected: ");
    return message.substring(uri.toString().length() + 2, end < 0 ? message.length() : end);
  }

  /** What was asked. */
  public URI uri() {
    return uri;
  }

  /** The HTTP status; empty: no response came. */
  public OptionalInt status() {
    return status == 0 ? OptionalInt.empty() : OptionalInt.of(status);
  }
}

package ai.sluice.core;

/** There is no room among those that wait; nothing was started. Has no stack trace. */
final class QueueFullException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  QueueFullException(String message) {
    super(message, null, false, false);
  }

  /** What was met, what was expected, and the remedy. */
  String why() {
    return String.valueOf(getMessage());
  }
}

package ai.sluice.text.jinja;

/** The source of a template cannot be parsed. */
public final class TemplateSyntaxException extends RuntimeException {
  private static final long serialVersionUID = 1L;
  private final int line;

  TemplateSyntaxException(String message, int line) {
    super(message);
    this.line = line;
  }

  /** The line of the source, from 1. */
  public int line() {
    return line;
  }
}

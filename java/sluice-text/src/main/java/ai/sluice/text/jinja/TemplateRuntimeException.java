package ai.sluice.text.jinja;

/** A template stopped while it was being rendered. */
public final class TemplateRuntimeException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** Why a template stopped. */
  public enum Kind {
    /** An operation met a value of a type that it does not take. */
    TYPE,
    /** An operation met a value that it does not take. */
    VALUE,
    /** Something was done with a value that is not defined. */
    UNDEFINED,
    /** The template reached for something that templates may not touch. */
    SECURITY,
    /** A bound on steps, text or depth was reached. */
    LIMIT,
    /** The template itself refused its input by raise_exception. */
    RAISED,
    /** The template uses a filter, test or function that this interpreter does not have. */
    UNSUPPORTED
  }

  private final Kind kind;
  private int line;

  TemplateRuntimeException(Kind kind, String message) {
    super(message, null, false, true);
    this.kind = kind;
  }

  static TemplateRuntimeException type(String message) {
    return new TemplateRuntimeException(Kind.TYPE, message);
  }

  static TemplateRuntimeException value(String message) {
    return new TemplateRuntimeException(Kind.VALUE, message);
  }

  static TemplateRuntimeException limit(String message) {
    return new TemplateRuntimeException(Kind.LIMIT, message);
  }

  static TemplateRuntimeException unsupported(String message) {
    return new TemplateRuntimeException(Kind.UNSUPPORTED, message);
  }

  /** Why the template stopped. */
  public Kind kind() {
    return kind;
  }

  /** The line of the source, from 1; 0 if none is known. */
  public int line() {
    return line;
  }

  /** Notes the line of the innermost statement; later calls change nothing. */
  TemplateRuntimeException at(int statementLine) {
    if (line == 0) {
      line = statementLine;
    }
    return this;
  }
}

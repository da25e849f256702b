package ai.sluice.text.jinja;

import org.jspecify.annotations.Nullable;

/**
 * Text that the filters safe and escape marked as HTML. It differs from a string in one way: what
 * is added to it with {@code +} is escaped first. Everything else takes its text.
 *
 * @param text the marked text
 */
record Markup(String text) {

  /** The plain value of a value that may be marked. */
  static @Nullable Object plain(@Nullable Object value) {
    return value instanceof Markup markup ? markup.text() : value;
  }

  /** Escapes the five characters that HTML gives a meaning. */
  static String escape(String text) {
    return text.replace("&", "&amp;")
        .replace(">", "&gt;")
        .replace("<", "&lt;")
        .replace("'", "&#39;")
        .replace("\"", "&#34;");
  }

  /** Joins two values of which at least one is marked, or null if one is no text. */
  static @Nullable Markup join(Interpreter in, @Nullable Object a, @Nullable Object b) {
    if (!(a instanceof Markup || a instanceof String)
        || !(b instanceof Markup || b instanceof String)) {
      return null;
    }
    return new Markup(in.made(part(a) + part(b)));
  }

  private static String part(Object value) {
    return value instanceof Markup markup ? markup.text() : escape((String) value);
  }
}

package ai.sluice.text.jinja;

import java.time.Clock;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A parsed template. Immutable and thread-safe.
 *
 * <p>Values that are rendered are data: text is written as it is and never read as a template.
 */
public final class Template {
  private static final int MAX_SOURCE_CHARS = 1 << 20;

  private final List<Statement> body;

  private Template(List<Statement> body) {
    this.body = List.copyOf(body);
  }

  /**
   * Parses a template.
   *
   * @param source at most 2^20 characters
   * @throws TemplateSyntaxException if it is malformed, too long or nested too deep
   */
  public static Template parse(String source) {
    if (source.length() > MAX_SOURCE_CHARS) {
      throw new TemplateSyntaxException(
          "a template of "
              + source.length()
              + " characters (expected: at most "
              + MAX_SOURCE_CHARS
              + ")",
          1);
    }
    try {
      return new Template(new Parser(Lexer.tokenize(source)).parse());
    } catch (StackOverflowError e) {
      throw new TemplateSyntaxException("expressions nested too deep", 1);
    }
  }

  /**
   * Renders the template.
   *
   * @param variables values by name: strings, booleans, {@link Long}, {@link Double}, {@link
   *     java.math.BigInteger}, null, and lists and maps of these
   * @param limits bounds on the work
   * @param clock what strftime_now reads
   * @return the text
   * @throws TemplateRuntimeException if the template stops
   */
  public String render(
      Map<String, ? extends @Nullable Object> variables, Limits limits, Clock clock) {
    Interpreter in = new Interpreter(limits, clock);
    Scope globals = new Scope(null);
    Globals.define(globals);
    Scope scope = new Scope(globals);
    variables.forEach(scope::set);
    // A template's own assignments must not be visible to its input, so they get a scope.
    try {
      return Statement.capture(body, in, new Scope(scope));
    } catch (StackOverflowError e) {
      throw TemplateRuntimeException.limit("calls nested too deep (expected: fewer)");
    } catch (ArithmeticException e) {
      throw TemplateRuntimeException.limit("a value too large: " + e.getMessage());
    }
  }

  /**
   * The JSON text of a value, written as the filter tojson writes it.
   *
   * @param value a value as {@link #render} takes them
   */
  public static String json(@Nullable Object value) {
    Limits unlimited = new Limits(Long.MAX_VALUE, Long.MAX_VALUE, 1);
    return PyJson.write(new Interpreter(unlimited, Clock.systemUTC()), value);
  }
}

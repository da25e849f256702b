package ai.sluice.api;

import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The form that an answer must have. The model can then choose only tokens that keep to it. Immutable
 * and thread-safe.
 */
public sealed interface ResponseFormat {
  /** Characters that a regular expression may have. */
  int MAX_REGEX_LENGTH = 10_000;

  /** Any text. */
  static ResponseFormat text() {
    return new Text();
  }

  /** Any JSON object. */
  static ResponseFormat jsonObject() {
    return new JsonObject();
  }

  /**
   * JSON that a schema accepts.
   *
   * @param schema a JSON schema as a JSON-like object, in the subset that docs/structured-output.md
   *     lists; copied
   * @throws InvalidRequestException if a value is not JSON-like
   */
  static ResponseFormat jsonSchema(Map<String, ? extends @Nullable Object> schema) {
    return new JsonSchema(JsonValues.copyObject("responseFormat.schema", schema));
  }

  /**
   * Text that a regular expression matches whole.
   *
   * @param pattern in the subset that docs/structured-output.md lists
   * @throws InvalidRequestException if it is empty or longer than {@link #MAX_REGEX_LENGTH}
   */
  static ResponseFormat regex(String pattern) {
    int length = Check.given("responseFormat.regex", pattern).length();
    Check.range("responseFormat.regex: length", length, 1, MAX_REGEX_LENGTH);
    return new Regex(pattern);
  }

  /** Any text. */
  record Text() implements ResponseFormat {}

  /** Any JSON object. */
  record JsonObject() implements ResponseFormat {}

  /**
   * JSON that a schema accepts; made by {@link ResponseFormat#jsonSchema}.
   *
   * @param schema unmodifiable
   */
  record JsonSchema(Map<String, @Nullable Object> schema) implements ResponseFormat {}

  /**
   * Text that a regular expression matches whole; made by {@link ResponseFormat#regex}.
   *
   * @param pattern the expression
   */
  record Regex(String pattern) implements ResponseFormat {}
}

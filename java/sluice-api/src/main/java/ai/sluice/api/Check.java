package ai.sluice.api;

import java.time.Duration;
import java.util.Collection;

/** Argument checks whose messages have the form {@code name: value (expected: ...)}. */
final class Check {
  private Check() {}

  static int range(String name, int value, int min, int max) {
    if (value < min || value > max) {
      throw fail(name, value, min + " to " + max);
    }
    return value;
  }

  static long range(String name, long value, long min, long max) {
    if (value < min || value > max) {
      throw fail(name, value, min + " to " + max);
    }
    return value;
  }

  /** Written so that NaN fails. */
  static double range(String name, double value, double min, double max) {
    if (!(value >= min && value <= max)) {
      throw fail(name, value, min + " to " + max);
    }
    return value;
  }

  static <T> T given(String name, T value) {
    if (value == null) {
      throw new InvalidRequestException(name + ": null (expected: a value)");
    }
    return value;
  }

  static void size(String name, Collection<?> values, int max) {
    if (values.size() > max) {
      throw fail(name, values.size() + " entries", "at most " + max);
    }
  }

  static InvalidRequestException fail(String name, Object value, String expected) {
    return new InvalidRequestException(name + ": " + value + " (expected: " + expected + ")");
  }

  static Duration aboveZero(String name, Duration value) {
    if (given(name, value).isZero() || value.isNegative()) {
      throw fail(name, value, "above zero");
    }
    return value;
  }

  static void cacheSalt(String value) {
    int length = given("cacheSalt", value).length();
    if (length > GenerationRequest.MAX_CACHE_SALT_LENGTH) {
      throw fail(
          "cacheSalt",
          length + " characters",
          "at most " + GenerationRequest.MAX_CACHE_SALT_LENGTH);
    }
  }

  /** A lone surrogate has no UTF-8 form; a tokenizer would silently see "?" in its place. */
  static void wholeCharacters(String name, String text) {
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (Character.isHighSurrogate(c)
          && i + 1 < text.length()
          && Character.isLowSurrogate(text.charAt(i + 1))) {
        i++;
      } else if (Character.isSurrogate(c)) {
        throw new InvalidRequestException(
            name + ": half a surrogate pair at index " + i
                + " (expected: valid Unicode; the text was probably cut or decoded wrongly)");
      }
    }
  }
}

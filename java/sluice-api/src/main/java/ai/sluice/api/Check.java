package ai.sluice.api;

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
}

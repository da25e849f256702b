package ai.sluice.eval.metrics;

/** Argument checks whose messages have the form {@code name: value (expected: ...)}. */
final class Arguments {
  private Arguments() {}

  static void range(String name, long value, long min, long max) {
    if (value < min || value > max) {
      String expected = max == Integer.MAX_VALUE ? "at least " + min : min + " to " + max;
      throw fail(name, value, expected);
    }
  }

  /** At least {@code min} values, all finite. */
  static void values(String name, double[] values, int min) {
    if (values.length < min) {
      throw fail(name, values.length + " values", "at least " + min);
    }
    for (int i = 0; i < values.length; i++) {
      if (!Double.isFinite(values[i])) {
        throw fail(name + "[" + i + "]", values[i], "a finite number");
      }
    }
  }

  static void sameLength(String name, int length, String other, int otherLength) {
    if (length != otherLength) {
      throw fail(name, length + " values", otherLength + ", as many as " + other);
    }
  }

  static IllegalArgumentException fail(String name, Object value, String expected) {
    return new IllegalArgumentException(name + ": " + value + " (expected: " + expected + ")");
  }
}

package ai.sluice.text.grammar;

import ai.sluice.api.InvalidRequestException;
import java.time.Duration;

/**
 * What one grammar may cost. A schema or an expression beyond them is refused by the limit's
 * name. Immutable and thread-safe.
 *
 * @param maxNesting levels of schemas within schemas, 1 to 64
 * @param maxProperties properties of all objects of a schema together, 1 to 100,000
 * @param maxEnumValues values of all enums of a schema together, 1 to 100,000
 * @param maxTextLength characters of all property names, definition names, enum and const values of
 *     a schema together, 1 to 10,000,000
 * @param maxStates states of the automaton, 16 to 1,000,000
 * @param maxCompileTime wall-clock time of compiling, above zero
 * @param maxCacheBytes memory for what is computed while a grammar is used (masks, states), at
 *     least 1 MiB. Less of it costs time, never correctness
 */
public record GrammarLimits(
    int maxNesting,
    int maxProperties,
    int maxEnumValues,
    int maxTextLength,
    int maxStates,
    Duration maxCompileTime,
    long maxCacheBytes) {
  /** The limits of a server that takes schemas from strangers. */
  public static final GrammarLimits DEFAULT =
      new GrammarLimits(32, 5_000, 5_000, 120_000, 100_000, Duration.ofSeconds(2), 8L << 20);

  /**
   * Checks the limits.
   *
   * @throws InvalidRequestException if one is out of its range
   */
  public GrammarLimits {
    range("maxNesting", maxNesting, 1, 64);
    range("maxProperties", maxProperties, 1, 100_000);
    range("maxEnumValues", maxEnumValues, 1, 100_000);
    range("maxTextLength", maxTextLength, 1, 10_000_000);
    range("maxStates", maxStates, 16, 1_000_000);
    range("maxCacheBytes", maxCacheBytes, 1 << 20, Long.MAX_VALUE);
    if (maxCompileTime.isNegative() || maxCompileTime.isZero()) {
      throw new InvalidRequestException(
          "maxCompileTime: " + maxCompileTime + " (expected: above zero)");
    }
  }

  private static void range(String name, long value, long min, long max) {
    if (value < min || value > max) {
      throw new InvalidRequestException(
          name + ": " + value + " (expected: " + min + " to " + max + ")");
    }
  }
}

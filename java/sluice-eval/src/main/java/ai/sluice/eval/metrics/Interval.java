package ai.sluice.eval.metrics;

/**
 * A confidence interval, both ends included.
 *
 * @param low at most {@code high}
 * @param high in the unit of {@code low}
 */
public record Interval(double low, double high) {
  /**
   * Checks the order.
   *
   * @throws IllegalArgumentException if an end is not a number or low is above high
   */
  public Interval {
    if (!(low <= high)) {
      throw Arguments.fail("low", low, "at most high, " + high);
    }
  }
}

package ai.sluice.eval.metrics;

/** McNemar's exact test of two runs over the same items. Thread-safe. */
public final class McNemar {
  private McNemar() {}

  /**
   * The two-sided p-value of the exact test: twice the probability that of {@code n = onlyFirst +
   * onlySecond} fair coins at most the smaller count falls on one side, at most 1. Takes time
   * linear in the smaller count; the relative error stays below n times 1e-15.
   *
   * @param onlyFirst items that only the first run has right
   * @param onlySecond items that only the second run has right
   * @return 0 to 1; 1 if no item differs; 0 only where the value is below the smallest double
   * @throws IllegalArgumentException if a count is negative
   */
  public static double exactP(int onlyFirst, int onlySecond) {
    Arguments.range("onlyFirst", onlyFirst, 0, Integer.MAX_VALUE);
    Arguments.range("onlySecond", onlySecond, 0, Integer.MAX_VALUE);
    if (onlyFirst == onlySecond) {
      return 1;
    }
    long few = Math.min(onlyFirst, onlySecond);
    long all = (long) onlyFirst + onlySecond;

    // C(all, few) as fraction * 2^exponent: neither it nor 2^-all need fit a double.
    double fraction = 1;
    long exponent = 0;
    for (long i = 1; i <= few; i++) {
      fraction *= (double) (all - few + i) / i;
      int shift = Math.getExponent(fraction);
      fraction = Math.scalb(fraction, -shift);
      exponent += shift;
    }

    // The tail in units of its largest term: C(all, i - 1) = C(all, i) * i / (all - i + 1).
    double tail = 1;
    double term = 1;
    for (long i = few; i > 0 && term > 0x1p-60 * tail; i--) {
      term *= (double) i / (all - i + 1);
      tail += term;
    }
    long scale = Math.max(exponent - all + 1, -100_000);
    return Math.min(1, Math.scalb(fraction * tail, (int) scale));
  }
}

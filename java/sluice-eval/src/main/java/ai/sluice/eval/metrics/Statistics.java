package ai.sluice.eval.metrics;

import java.util.Arrays;
import java.util.OptionalDouble;

/**
 * Mean, standard error and intervals of one task's scores. Sums are compensated, so that the order
 * and the count of the scores do not show. Thread-safe.
 */
public final class Statistics {
  /** The normal distribution's 97.5 % point. */
  private static final double Z95 = 1.959963984540054;

  private Statistics() {}

  /**
   * The arithmetic mean.
   *
   * @param values at least one
   * @throws IllegalArgumentException if there is none or one is not finite
   */
  public static double mean(double... values) {
    Arguments.values("values", values, 1);
    return StableSum.of(values) / values.length;
  }

  /**
   * The standard error of the mean as lm-eval has it, {@code sqrt(sum((x - mean)^2) / (n - 1)) /
   * sqrt(n)}.
   *
   * @param values at least one
   * @return empty for one value, where lm-eval prints N/A
   * @throws IllegalArgumentException if there is none or one is not finite
   */
  public static OptionalDouble standardError(double... values) {
    double mean = mean(values);
    if (values.length == 1) {
      return OptionalDouble.empty();
    }
    StableSum squares = new StableSum();
    for (double value : values) {
      squares.add((value - mean) * (value - mean));
    }
    return OptionalDouble.of(
        Math.sqrt(squares.value() / (values.length - 1)) / Math.sqrt(values.length));
  }

  /**
   * Wilson's score interval of a proportion at 95 %.
   *
   * @param successes 0 to {@code trials}
   * @param trials at least 1
   * @return within 0 to 1
   * @throws IllegalArgumentException if a count is out of range
   */
  public static Interval wilson95(int successes, int trials) {
    Arguments.range("trials", trials, 1, Integer.MAX_VALUE);
    Arguments.range("successes", successes, 0, trials);
    double n = trials;
    double p = successes / n;
    double z2 = Z95 * Z95;
    double center = (p + z2 / (2 * n)) / (1 + z2 / n);
    double half = Z95 / (1 + z2 / n) * Math.sqrt(p * (1 - p) / n + z2 / (4 * n * n));
    // At the ends the formula gives 0 and 1; rounding must not leave anything else.
    return new Interval(
        successes == 0 ? 0 : Math.max(0, center - half),
        successes == trials ? 1 : Math.min(1, center + half));
  }

  /**
   * The quantile of a share, linear between the two nearest values (as NumPy's default).
   *
   * @param share 0 to 1: 0.5 is the median
   * @param values at least one, in any order
   * @throws IllegalArgumentException if there is none, one is not finite or the share is out of
   *     range
   */
  public static double quantile(double share, double... values) {
    Arguments.values("values", values, 1);
    if (!(share >= 0 && share <= 1)) {
      throw Arguments.fail("share", share, "0 to 1");
    }
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    return Bootstrap.quantile(sorted, share);
  }
}

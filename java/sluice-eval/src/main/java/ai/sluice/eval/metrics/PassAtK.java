package ai.sluice.eval.metrics;

/** The probability that one of k samples passes (Chen et al. 2021). Thread-safe. */
public final class PassAtK {
  private PassAtK() {}

  /**
   * The unbiased estimate {@code 1 - C(samples - passed, k) / C(samples, k)} for one problem; a
   * task's pass@k is the mean of its problems'.
   *
   * @param samples how many were drawn, at least 1
   * @param passed how many of them passed
   * @param k 1 to {@code samples}
   * @return 0 to 1
   * @throws IllegalArgumentException if a count is out of range
   */
  public static double estimate(int samples, int passed, int k) {
    Arguments.range("samples", samples, 1, Integer.MAX_VALUE);
    Arguments.range("passed", passed, 0, samples);
    Arguments.range("k", k, 1, samples);
    int failed = samples - passed;
    if (failed < k) {
      return 1;
    }
    double none = 1;
    // Counted down: at the largest int, a loop up to it would not end.
    for (int i = samples; i > failed; i--) {
      none *= 1 - (double) k / i;
    }
    return 1 - none;
  }
}

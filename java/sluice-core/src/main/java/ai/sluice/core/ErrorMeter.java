package ai.sluice.core;

/** The largest relative L2 error of several comparisons. Not thread-safe. */
final class ErrorMeter {
  private int count;
  private double worst;
  private String worstName = "none";

  /** Compares, summing in double. Another length is an error of NaN, the worst of all. */
  double compare(String name, float[] got, float[] want) {
    double error = relative(got, want);
    // NaN is never below a tolerance; no later value replaces it.
    if (count == 0 || (!(error <= worst) && !Double.isNaN(worst))) {
      worst = error;
      worstName = name;
    }
    count++;
    return error;
  }

  /** The relative L2 error; NaN for another length. */
  static double relative(float[] got, float[] want) {
    if (got.length != want.length) {
      return Double.NaN;
    }
    double difference = 0;
    double norm = 0;
    for (int i = 0; i < want.length; i++) {
      double d = (double) got[i] - want[i];
      difference += d * d;
      norm += (double) want[i] * want[i];
    }
    return Math.sqrt(difference / norm);
  }

  int count() {
    return count;
  }

  VerificationReport.Check check(String name, double tolerance, String more) {
    return new VerificationReport.Check(
        name, worst < tolerance, worst, tolerance, count + " compared, worst: " + worstName + more);
  }
}

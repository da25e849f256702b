package ai.sluice.core;

/** The largest relative L2 error of several comparisons. Not thread-safe. */
final class ErrorMeter {
  private int count;
  private double worst;
  private String worstName = "none";

  /** Compares, summing in double. Another length is an error of NaN, the worst of all. */
  double compare(String name, float[] got, float[] want) {
    double difference = 0;
    double norm = 0;
    for (int i = 0; i < want.length; i++) {
      double d = i < got.length ? (double) got[i] - want[i] : Double.NaN;
      difference += d * d;
      norm += (double) want[i] * want[i];
    }
    double error = Math.sqrt(difference / norm);
    if (got.length != want.length) {
      error = Double.NaN;
    }
    // NaN is never below a tolerance; no later value replaces it.
    if (count == 0 || (!(error <= worst) && !Double.isNaN(worst))) {
      worst = error;
      worstName = name;
    }
    count++;
    return error;
  }

  int count() {
    return count;
  }

  VerificationReport.Check check(String name, double tolerance, String more) {
    return new VerificationReport.Check(
        name, worst < tolerance, worst, tolerance, count + " compared, worst: " + worstName + more);
  }
}

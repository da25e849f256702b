package ai.sluice.eval.metrics;

/** A sum whose rounding error does not grow with the count (Neumaier 1974). Not thread-safe. */
final class StableSum {
  private double sum;
  private double lost;

  StableSum add(double value) {
    double next = sum + value;
    lost += Math.abs(sum) >= Math.abs(value) ? sum - next + value : value - next + sum;
    sum = next;
    return this;
  }

  double value() {
    return sum + lost;
  }

  static double of(double... values) {
    StableSum sum = new StableSum();
    for (double value : values) {
      sum.add(value);
    }
    return sum.value();
  }
}

package ai.sluice.cli.soak;

import java.util.Arrays;
import java.util.List;

/** Whether a series of samples grows. */
final class Drift {
  /** Fewer samples say nothing. */
  static final int LEAST_SAMPLES = 12;

  private Drift() {}

  /**
   * Growth from the first third of the samples to the last, median against median, as a share of the
   * first: outliers and a single jump back and forth do not count.
   *
   * @param samples at least {@link #LEAST_SAMPLES}, each above 0
   */
  static double of(List<Long> samples) {
    int third = samples.size() / 3;
    double first = median(samples.subList(0, third));
    double last = median(samples.subList(samples.size() - third, samples.size()));
    return (last - first) / first;
  }

  private static double median(List<Long> samples) {
    long[] sorted = samples.stream().mapToLong(Long::longValue).toArray();
    Arrays.sort(sorted);
    int middle = sorted.length / 2;
    return sorted.length % 2 == 1
        ? sorted[middle]
        : (sorted[middle - 1] + sorted[middle]) / 2.0;
  }
}

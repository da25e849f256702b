package ai.sluice.api;

import java.util.List;

/**
 * How often values of each size occurred since the engine opened.
 *
 * @param bounds upper bounds of the buckets, rising; a value belongs to the first bucket whose bound
 *     is not below it
 * @param counts values in each bucket, one more than there are bounds: the last holds those beyond
 *     the highest. Not cumulative
 * @param sum of all values, in the unit of the bounds
 * @param count values in all buckets
 */
public record Histogram(List<Double> bounds, List<Long> counts, double sum, long count) {
  /** Copies the lists. */
  public Histogram {
    bounds = List.copyOf(bounds);
    counts = List.copyOf(counts);
    if (counts.size() != bounds.size() + 1) {
      throw new IllegalArgumentException(
          "counts: " + counts.size() + " (expected: " + (bounds.size() + 1)
              + ", one more than bounds)");
    }
  }

  /** Mean of all values; 0 if there are none. */
  public double mean() {
    return count == 0 ? 0 : sum / count;
  }

  /** How many values are at most as large as a bound. */
  public long atMost(int bound) {
    long total = 0;
    for (int i = 0; i <= bound; i++) {
      total += counts.get(i);
    }
    return total;
  }
}

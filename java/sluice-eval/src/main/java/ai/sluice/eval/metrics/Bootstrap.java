package ai.sluice.eval.metrics;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Percentile bootstrap of means: 95 % intervals that depend on the scores, their order and the seed
 * alone. The ends are the 2.5 % and 97.5 % quantiles of the resampled means, with linear
 * interpolation between neighbours. Immutable and thread-safe.
 *
 * @param resamples how many, 100 to 1,000,000; the time is this times the count of the values
 * @param seed of the generator (SplitMix64, Steele et al. 2014)
 */
public record Bootstrap(int resamples, long seed) {
  /** The resamples of {@link #withSeed}. */
  public static final int DEFAULT_RESAMPLES = 10_000;

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if there are too few or too many resamples
   */
  public Bootstrap {
    Arguments.range("resamples", resamples, 100, 1_000_000);
  }

  /** With {@value #DEFAULT_RESAMPLES} resamples. */
  public static Bootstrap withSeed(long seed) {
    return new Bootstrap(DEFAULT_RESAMPLES, seed);
  }

  /**
   * The interval of the mean.
   *
   * @param values at least two, each drawn for itself
   * @throws IllegalArgumentException if there are too few or one is not finite
   */
  public Interval mean(double[] values) {
    Arguments.values("values", values, 2);
    double[] ones = new double[values.length];
    Arrays.fill(ones, 1);
    return resampled(values, ones);
  }

  /**
   * The interval of the mean where items of a cluster, such as a subject, are drawn together.
   *
   * @param values at least one a cluster
   * @param clusters the cluster of each value, at least two different ones
   * @throws IllegalArgumentException if there are too few, one is not finite or the lengths differ
   */
  public Interval clusteredMean(double[] values, List<String> clusters) {
    Arguments.values("values", values, 2);
    Arguments.sameLength("clusters", clusters.size(), "values", values.length);
    Map<String, StableSum> sums = new LinkedHashMap<>();
    Map<String, Integer> sizes = new LinkedHashMap<>();
    int at = 0;
    for (String cluster : clusters) {
      sums.computeIfAbsent(cluster, name -> new StableSum()).add(values[at++]);
      sizes.merge(cluster, 1, Integer::sum);
    }
    if (sums.size() < 2) {
      throw Arguments.fail("clusters", sums.size() + " different", "at least 2");
    }
    // Both maps keep the order of first appearance.
    return resampled(
        sums.values().stream().mapToDouble(StableSum::value).toArray(),
        sizes.values().stream().mapToDouble(Integer::doubleValue).toArray());
  }

  /**
   * The interval of the mean of {@code second} minus the mean of {@code first}, items drawn in
   * pairs.
   *
   * @param first scores of one run, at least two
   * @param second scores of the other run, of the same items in the same order
   * @throws IllegalArgumentException if there are too few, one is not finite or the lengths differ
   */
  public Interval meanDifference(double[] first, double[] second) {
    return mean(differences(first, second));
  }

  /**
   * As {@link #meanDifference}, with items of a cluster drawn together.
   *
   * @param first scores of one run
   * @param second scores of the other run, of the same items in the same order
   * @param clusters the cluster of each item, at least two different ones
   * @throws IllegalArgumentException if there are too few, one is not finite or the lengths differ
   */
  public Interval clusteredMeanDifference(
      double[] first, double[] second, List<String> clusters) {
    return clusteredMean(differences(first, second), clusters);
  }

  private static double[] differences(double[] first, double[] second) {
    Arguments.values("first", first, 2);
    Arguments.values("second", second, 2);
    Arguments.sameLength("second", second.length, "first", first.length);
    double[] out = new double[first.length];
    Arrays.setAll(out, i -> second[i] - first[i]);
    return out;
  }

  /** Draws units with replacement; the mean of a draw is its sum over its count of items. */
  private Interval resampled(double[] sums, double[] sizes) {
    SplitMix random = new SplitMix(seed);
    double[] means = new double[resamples];
    for (int r = 0; r < resamples; r++) {
      StableSum sum = new StableSum();
      double size = 0;
      for (int i = 0; i < sums.length; i++) {
        int unit = random.below(sums.length);
        sum.add(sums[unit]);
        size += sizes[unit];
      }
      means[r] = sum.value() / size;
    }
    Arrays.sort(means);
    return new Interval(quantile(means, 0.025), quantile(means, 0.975));
  }

  /** Linear between the two neighbours of {@code (count - 1) * share}. */
  static double quantile(double[] sorted, double share) {
    double at = (sorted.length - 1) * share;
    int below = (int) at;
    if (below + 1 >= sorted.length) {
      return sorted[sorted.length - 1];
    }
    return sorted[below] + (at - below) * (sorted[below + 1] - sorted[below]);
  }

  /** SplitMix64: java.util's own generators may change from one JDK to the next, or are slow. */
  static final class SplitMix {
    private long state;

    SplitMix(long seed) {
      state = seed;
    }

    long next() {
      state += 0x9e3779b97f4a7c15L;
      long z = state;
      z = (z ^ z >>> 30) * 0xbf58476d1ce4e5b9L;
      z = (z ^ z >>> 27) * 0x94d049bb133111ebL;
      return z ^ z >>> 31;
    }

    /** Evenly 0 to bound - 1: the high word of 32 random bits times the bound (Lemire 2019). */
    int below(int bound) {
      long product = (next() >>> 32) * bound;
      // Low words below 2^32 mod bound would make some values likelier than others.
      if ((product & 0xffffffffL) < bound) {
        long biased = (1L << 32) % bound;
        while ((product & 0xffffffffL) < biased) {
          product = (next() >>> 32) * bound;
        }
      }
      return (int) (product >>> 32);
    }
  }
}

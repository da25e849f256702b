package ai.sluice.eval.metrics;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class BootstrapTest {
  private static final double[] FIRST = {
    0.5, 0.25, 1, 0, 0.75, 0.125, 1, 1, 0.375, 0, 0.625, 0.875
  };
  private static final double[] SECOND = {1, 0.25, 0, 0, 1, 0.5, 1, 0.5, 0.75, 0.25, 1, 1};
  private static final List<String> CLUSTERS = List.of("aabbbbccdddd".split(""));
  private static final Bootstrap BOOTSTRAP = Bootstrap.withSeed(42);

  /**
   * A second implementation in Python (math.fsum, SplitMix64 on big integers, 10,000 draws) gave
   * these.
   */
  @Test
  void equalToASecondImplementation() {
    check(0.3333333333333333, 0.75, BOOTSTRAP.mean(FIRST));
    check(0.4125, 0.7875, BOOTSTRAP.clusteredMean(FIRST, CLUSTERS));
    check(-0.19791666666666666, 0.2708333333333333, BOOTSTRAP.meanDifference(FIRST, SECOND));
    check(
        -0.14583333333333334,
        0.2708333333333333,
        BOOTSTRAP.clusteredMeanDifference(FIRST, SECOND, CLUSTERS));
  }

  private static void check(double low, double high, Interval interval) {
    assertEquals(low, interval.low(), 1e-14);
    assertEquals(high, interval.high(), 1e-14);
  }

  @Test
  void theGeneratorIsSplitMix64() {
    Bootstrap.SplitMix random = new Bootstrap.SplitMix(1234567);
    assertEquals("6457827717110365317", Long.toUnsignedString(random.next()));
    assertEquals("3203168211198807973", Long.toUnsignedString(random.next()));
    assertEquals("9817491932198370423", Long.toUnsignedString(random.next()));
    Bootstrap.SplitMix bounded = new Bootstrap.SplitMix(7);
    int[] drawn = IntStream.generate(() -> bounded.below(3)).limit(12).toArray();
    assertArrayEquals(new int[] {1, 0, 2, 1, 1, 0, 1, 0, 0, 1, 0, 2}, drawn);
    assertEquals(1971432046, bounded.below(Integer.MAX_VALUE));
    assertEquals(1871170705, bounded.below(Integer.MAX_VALUE));
    // A quarter of the words is refused for this bound.
    int[] wide = IntStream.generate(() -> bounded.below(3 << 29)).limit(12).toArray();
    assertArrayEquals(
        new int[] {
          1391581744, 525641668, 997163525, 1219752429, 171843242, 554763944, 682533418,
          1453641875, 123503808, 655590306, 1452523295, 668454885
        },
        wide);
  }

  @Test
  void theSeedAloneDecides() {
    double[] values = IntStream.range(0, 100).mapToDouble(Math::sqrt).toArray();
    assertEquals(BOOTSTRAP.mean(values), Bootstrap.withSeed(42).mean(values));
    assertNotEquals(BOOTSTRAP.mean(values), Bootstrap.withSeed(43).mean(values));
    assertNotEquals(BOOTSTRAP.mean(values), new Bootstrap(9_999, 42).mean(values));
  }

  /** Of 2,000 items the normal approximation holds: mean +- 1.96 standard errors. */
  @Test
  void closeToTheNormalInterval() {
    double[] values = new double[2_000];
    Arrays.fill(values, 0, 600, 1);
    double half = 1.96 * Statistics.standardError(values).getAsDouble();
    Interval interval = BOOTSTRAP.mean(values);
    assertEquals(0.3 - half, interval.low(), 0.05 * half);
    assertEquals(0.3 + half, interval.high(), 0.05 * half);
  }

  /** Copies of an item in a cluster say no more than the item. */
  @Test
  void clustersOfCopiesAreWiderThanItems() {
    double[] items = IntStream.range(0, 400).mapToDouble(i -> i / 10 % 3).toArray();
    List<String> tens = IntStream.range(0, 400).mapToObj(i -> "t" + i / 10).toList();
    Interval single = BOOTSTRAP.mean(items);
    Interval clustered = BOOTSTRAP.clusteredMean(items, tens);
    double ratio = (clustered.high() - clustered.low()) / (single.high() - single.low());
    assertEquals(Math.sqrt(10), ratio, 0.3);
    double[] forty = IntStream.range(0, 40).mapToDouble(i -> i % 3).toArray();
    assertEquals(BOOTSTRAP.mean(forty), clustered);
  }

  @Test
  void pairsTakeOutWhatBothRunsShare() {
    double[] better = Arrays.stream(FIRST).map(x -> x + 0.125).toArray();
    Interval interval = BOOTSTRAP.meanDifference(FIRST, better);
    assertEquals(new Interval(0.125, 0.125), interval);
    assertTrue(BOOTSTRAP.mean(FIRST).high() > BOOTSTRAP.mean(better).low());
  }

  @Test
  void quantilesAreInterpolated() {
    double[] sorted = {0, 10, 20, 40};
    assertEquals(0, Bootstrap.quantile(sorted, 0));
    assertEquals(15, Bootstrap.quantile(sorted, 0.5), 1e-12);
    assertEquals(35, Bootstrap.quantile(sorted, 11 / 12.0), 1e-12);
    assertEquals(40, Bootstrap.quantile(sorted, 1));
  }

  @Test
  void refused() {
    refused("resamples: 99 (expected: 100 to 1000000)", () -> new Bootstrap(99, 1));
    refused("resamples: 1000001 (expected: 100 to 1000000)", () -> new Bootstrap(1_000_001, 1));
    refused(
        "values: 1 values (expected: at least 2)", () -> BOOTSTRAP.mean(new double[] {1}));
    refused(
        "values[0]: -Infinity (expected: a finite number)",
        () -> BOOTSTRAP.mean(new double[] {Double.NEGATIVE_INFINITY, 1}));
    refused(
        "clusters: 2 values (expected: 12, as many as values)",
        () -> BOOTSTRAP.clusteredMean(FIRST, List.of("a", "b")));
    refused(
        "clusters: 1 different (expected: at least 2)",
        () -> BOOTSTRAP.clusteredMean(FIRST, Collections.nCopies(12, "a")));
    refused(
        "second: 2 values (expected: 12, as many as first)",
        () -> BOOTSTRAP.meanDifference(FIRST, new double[] {1, 2}));
    refused(
        "second[1]: NaN (expected: a finite number)",
        () -> BOOTSTRAP.meanDifference(new double[] {1, 2}, new double[] {1, Double.NaN}));
    refused(
        "first: 1 values (expected: at least 2)",
        () ->
            BOOTSTRAP.clusteredMeanDifference(new double[] {1}, new double[] {1}, List.of("a")));
  }

  private static void refused(String message, Runnable action) {
    assertEquals(
        message, assertThrows(IllegalArgumentException.class, action::run).getMessage());
  }
}

package ai.sluice.core.scheduler;

import ai.sluice.api.Histogram;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.stream.LongStream;

/** A histogram that one thread writes, without allocating, and any thread reads. */
final class HistogramRecorder {
  private final List<Double> bounds;
  private final long[] limits;
  private final double perUnit;
  private final AtomicLongArray counts;
  private final AtomicLong sum = new AtomicLong();

  /**
   * Creates an empty histogram.
   *
   * @param perUnit recorded values per unit of the bounds, for example 1e9 for nanoseconds recorded
   *     against bounds in seconds
   * @param bounds rising
   */
  HistogramRecorder(double perUnit, double... bounds) {
    this.bounds = Arrays.stream(bounds).boxed().toList();
    this.perUnit = perUnit;
    limits = Arrays.stream(bounds).mapToLong(bound -> Math.round(bound * perUnit)).toArray();
    counts = new AtomicLongArray(bounds.length + 1);
  }

  void record(long value) {
    record(value, 1);
  }

  /** Records a value that occurred several times. */
  void record(long value, int times) {
    int found = Arrays.binarySearch(limits, value);
    int bucket = found >= 0 ? found : -1 - found;
    sum.addAndGet(value * times);
    counts.addAndGet(bucket, times);
  }

  Histogram snapshot() {
    List<Long> seen =
        LongStream.range(0, counts.length()).map(i -> counts.get((int) i)).boxed().toList();
    long count = seen.stream().mapToLong(Long::longValue).sum();
    return new Histogram(bounds, seen, sum.get() / perUnit, count);
  }
}

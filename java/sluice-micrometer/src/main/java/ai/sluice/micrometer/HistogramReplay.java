package ai.sluice.micrometer;

import ai.sluice.api.Histogram;
import io.micrometer.core.instrument.DistributionSummary;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Tags;
import io.micrometer.core.instrument.Timer;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.DoubleConsumer;

/**
 * Keeps a meter equal to a histogram of the engine. The engine knows how many values fell into a
 * bucket and what all add up to, not each value; so values are recorded that fall into the same
 * buckets and have the same sum. Used by one thread at a time.
 */
final class HistogramReplay {
  private static final double NANOS = 1e9;

  /** The highest value of a bucket and the lowest of the next differ by this share of the next. */
  private static final double LEAST = 1e-6;

  private final DoubleConsumer meter;
  private List<Long> toldCounts;
  private double toldSum;

  private HistogramReplay(DoubleConsumer meter, Histogram like) {
    this.meter = meter;
    toldCounts = like.counts().stream().map(count -> 0L).toList();
  }

  /**
   * Registers a timer for a histogram of seconds. Only timers have buckets below 1: a summary rounds
   * values up to whole numbers before it looks for their bucket.
   *
   * @param like has the bounds
   */
  static HistogramReplay ofSeconds(
      MeterRegistry registry, String name, String description, Tags tags, Histogram like) {
    Timer timer =
        Timer.builder(name)
            .description(description)
            .tags(tags)
            .serviceLevelObjectives(
                like.bounds().stream()
                    .map(bound -> Duration.ofNanos(Math.round(bound * NANOS)))
                    .toArray(Duration[]::new))
            .register(registry);
    return new HistogramReplay(
        value -> timer.record(Math.round(value * NANOS), TimeUnit.NANOSECONDS), like);
  }

  /**
   * Registers a summary for a histogram of whole numbers.
   *
   * @param like has the bounds
   */
  static HistogramReplay ofNumbers(
      MeterRegistry registry, String name, String description, Tags tags, Histogram like) {
    DistributionSummary summary =
        DistributionSummary.builder(name)
            .description(description)
            .tags(tags)
            .serviceLevelObjectives(
                like.bounds().stream().mapToDouble(Double::doubleValue).toArray())
            .register(registry);
    return new HistogramReplay(summary::record, like);
  }

  /** Records what came since the last time. */
  void advance(Histogram now) {
    List<Double> bounds = now.bounds();
    int buckets = now.counts().size();
    long[] fresh = new long[buckets];
    long total = 0;
    double least = 0;
    double span = 0;
    for (int i = 0; i < buckets; i++) {
      fresh[i] = now.counts().get(i) - toldCounts.get(i);
      total += fresh[i];
      least += fresh[i] * lower(bounds, i);
      if (i < bounds.size()) {
        span += fresh[i] * (bounds.get(i) - lower(bounds, i));
      }
    }
    if (total == 0) {
      return;
    }
    double sum = now.sum() - toldSum;
    // One place between the edges for all; what is more than the upper edges lies beyond the last.
    double place = span == 0 ? 1 : Math.min(1, Math.max(LEAST, (sum - least) / span));
    long beyond = fresh[buckets - 1];
    double excess = beyond == 0 ? 0 : Math.max(0, sum - least - place * span) / beyond;
    for (int i = 0; i < buckets; i++) {
      double lower = lower(bounds, i);
      double value =
          i < bounds.size()
              ? Math.min(bounds.get(i), lower + place * (bounds.get(i) - lower))
              : lower + Math.max(excess, LEAST * lower);
      for (long n = 0; n < fresh[i]; n++) {
        meter.accept(value);
      }
      // Counts and sum of a snapshot may be a value apart; the next one makes up for it.
      toldSum += value * fresh[i];
    }
    toldCounts = now.counts();
  }

  private static double lower(List<Double> bounds, int bucket) {
    return bucket == 0 ? 0 : bounds.get(bucket - 1);
  }
}

package ai.sluice.micrometer;

import static org.junit.jupiter.api.Assertions.assertEquals;

import ai.sluice.api.Histogram;
import io.micrometer.core.instrument.Tags;
import io.micrometer.prometheusmetrics.PrometheusConfig;
import io.micrometer.prometheusmetrics.PrometheusMeterRegistry;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class HistogramReplayTest {
  private static final List<Double> BOUNDS = List.of(0.5, 1.0, 4.0);

  private static Histogram of(List<Double> values) {
    Long[] counts = {0L, 0L, 0L, 0L};
    for (double value : values) {
      int bucket =
          IntStream.range(0, 3).filter(i -> value <= BOUNDS.get(i)).findFirst().orElse(3);
      counts[bucket]++;
    }
    double sum = values.stream().mapToDouble(v -> v).sum();
    return new Histogram(BOUNDS, Arrays.asList(counts), sum, values.size());
  }

  @Test
  void bucketsAndSumStayEqualHoweverOftenItIsTold() {
    for (int seed = 0; seed < 200; seed++) {
      Random random = new Random(seed);
      PrometheusMeterRegistry registry = new PrometheusMeterRegistry(PrometheusConfig.DEFAULT);
      HistogramReplay replay =
          HistogramReplay.ofSeconds(registry, "x_seconds", "a test", Tags.empty(), of(List.of()));
      List<Double> values = new ArrayList<>();
      for (int round = 0; round < 5; round++) {
        int more = random.nextInt(6);
        for (int i = 0; i < more; i++) {
          values.add(
              random.nextInt(4) == 0
                  ? BOUNDS.get(random.nextInt(3))
                  : Math.abs(random.nextGaussian() * 3));
        }
        Histogram now = of(values);
        replay.advance(now);
        String text = registry.scrape();
        for (int i = 0; i < 3; i++) {
          String line = "x_seconds_bucket{le=\"" + BOUNDS.get(i) + "\"} " + now.atMost(i);
          assertEquals(1, text.lines().filter(line::equals).count(), line + " in " + text);
        }
        assertEquals(now.sum(), registry.get("x_seconds").timer().totalTime(TimeUnit.SECONDS), 1e-4);
      }
    }
  }
}

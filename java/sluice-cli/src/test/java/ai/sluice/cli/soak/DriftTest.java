package ai.sluice.cli.soak;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.function.LongUnaryOperator;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;

class DriftTest {
  private static List<Long> series(int length, LongUnaryOperator value) {
    return LongStream.range(0, length).map(value).boxed().toList();
  }

  @Test
  void isTheGrowthOfTheMedian() {
    assertEquals(0, Drift.of(series(12, i -> 100)));
    assertEquals(0.5, Drift.of(series(12, i -> i < 6 ? 100 : 150)));
    assertEquals(-0.5, Drift.of(series(12, i -> i < 6 ? 100 : 50)));
  }

  @Test
  void outliersDoNotCount() {
    assertEquals(0, Drift.of(series(30, i -> i == 29 ? 1_000_000 : 100)));
    assertEquals(0, Drift.of(series(30, i -> i == 0 ? 1 : 100)));
  }
}

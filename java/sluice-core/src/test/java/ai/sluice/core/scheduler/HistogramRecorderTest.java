package ai.sluice.core.scheduler;

import static org.junit.jupiter.api.Assertions.assertEquals;

import ai.sluice.api.Histogram;
import java.util.List;
import org.junit.jupiter.api.Test;

class HistogramRecorderTest {
  @Test
  void aValueBelongsToTheFirstBoundNotBelowIt() {
    HistogramRecorder recorder = new HistogramRecorder(1000, 0.5, 1, 2);
    recorder.record(0);
    recorder.record(500);
    recorder.record(501);
    recorder.record(1000, 3);
    recorder.record(2001);
    recorder.record(Long.MAX_VALUE / 4);
    Histogram histogram = recorder.snapshot();
    assertEquals(List.of(0.5, 1.0, 2.0), histogram.bounds());
    assertEquals(List.of(2L, 4L, 0L, 2L), histogram.counts());
    assertEquals(8, histogram.count());
    assertEquals((500 + 501 + 3000 + 2001 + Long.MAX_VALUE / 4) / 1000.0, histogram.sum());
    assertEquals(6, histogram.atMost(1));
  }

  @Test
  void emptyIsZero() {
    Histogram histogram = new HistogramRecorder(1, 1).snapshot();
    assertEquals(0, histogram.mean());
    assertEquals(0, histogram.count());
  }
}

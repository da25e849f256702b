package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.EngineMetrics;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.LatencyMetrics;
import java.time.Duration;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class EngineMetricsTest {
  /** As long as the context lets it be, to be running still when it is cancelled. */
  private static final int LONG = 500;

  private static GenerationRequest.Builder request(int promptTokens, int newTokens) {
    return GenerationRequest.builder()
        .promptTokens(IntStream.range(3, 3 + promptTokens).toArray())
        .maxNewTokens(newTokens)
        .ignoreEos(true)
        .seed(1);
  }

  @Test
  void histogramsTellOfEveryRequest() {
    GenerationResult first;
    Engine engine = Engine.open(Fixtures.options("llama").maxSequences(2).build());
    try (engine) {
      first = engine.generate(request(20, 7).build());
      engine.generate(request(4, 1).build());
      Generation cancelled = engine.submit(request(4, LONG).build());
      cancelled.cancel();
      cancelled.result().join();
    }
    // Closed: a step may have been running when the last request ended.
    EngineMetrics metrics = engine.metrics();
    assertEquals(1, metrics.finished().get(FinishReason.CANCELLED));
    LatencyMetrics latency = metrics.latency();
    assertEquals(2, latency.endToEnd().count());
    assertEquals(2, latency.decode().count());
    assertTrue(latency.timeToFirstToken().count() >= 2);
    assertTrue(latency.interToken().count() >= 6);
    assertEquals(metrics.newTokens(),
        latency.timeToFirstToken().count() + latency.interToken().count());
    // Bounds 1, 2, 5, 10: one of 1 token, one of 7.
    assertEquals(
        List.of(1L, 0L, 0L, 1L), metrics.sizes().newTokens().counts().subList(0, 4));
    assertEquals(8, metrics.sizes().newTokens().sum());
    assertEquals(24, metrics.sizes().promptTokens().sum());
    assertEquals(metrics.steps(), metrics.sizes().stepTokens().count());
    assertTrue(metrics.prefixQueryTokens() >= 24);
    assertTrue(latency.endToEnd().sum() >= first.timings().totalMicros() / 1e6);
    assertEquals(0, metrics.drafts().acceptanceRate());
    assertEquals(0, metrics.kvUsage());
    assertEquals(
        latency.inference().sum(), latency.prefill().sum() + latency.decode().sum(), 1e-6);
  }

  @Test
  void aRequestThatTimesOutInTheQueueHasAnEndAndNoFirstToken() {
    try (Engine engine = Engine.open(Fixtures.options("llama").maxSequences(1).build())) {
      Generation running = engine.submit(request(4, LONG).build());
      GenerationResult late = engine.generate(request(4, 40).timeout(Duration.ofNanos(1)).build());
      assertEquals(FinishReason.TIMEOUT, late.finishReason());
      running.cancel();
      // On a busy machine it may be done before it is cancelled.
      FinishReason end = running.result().join().finishReason();
      assertEquals(
          end == FinishReason.CANCELLED ? 1 : 2, engine.metrics().latency().endToEnd().count());
      assertEquals(1, engine.metrics().finished().get(FinishReason.TIMEOUT));
    }
  }
}

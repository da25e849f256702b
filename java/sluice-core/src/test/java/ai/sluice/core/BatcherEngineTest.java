package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.BatcherOptions;
import ai.sluice.api.ClassificationRequest;
import ai.sluice.api.ClassificationResult;
import ai.sluice.api.EngineClosedException;
import ai.sluice.api.FinishReason;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.Numerics;
import ai.sluice.api.ScoreRequest;
import ai.sluice.api.ScoreResult;
import ai.sluice.api.SluiceException;
import ai.sluice.api.UnsupportedModelException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Batchers of a real engine. */
@Timeout(300)
class BatcherEngineTest {
  private static final String MODEL = "adaptive_moe";

  private static Engine open(int queued) {
    return Engine.open(
        Fixtures.options(MODEL)
            .numerics(Numerics.BATCH_INVARIANT)
            .maxContextLength(64)
            .maxSequences(4)
            .maxQueuedRequests(queued)
            .build());
  }

  private static ClassificationRequest request(int i) {
    int[] ids = Fixtures.ids(MODEL, "input_ids_" + i % 3);
    return ClassificationRequest.builder()
        .promptTokens(Arrays.copyOf(ids, 1 + i % ids.length))
        .build();
  }

  private static ScoreRequest score(int i) {
    return ScoreRequest.builder()
        .promptTokens(1, 2, 3 + i % 7)
        .continuationTokens(List.of(new int[] {1}, new int[] {2}, new int[] {3, i % 50}))
        .build();
  }

  /** More than the engine's queue takes: all end, with the bits that each has alone. */
  @Test
  void batchedResultsAreThoseOfEachAlone() throws Exception {
    try (Engine engine = open(2);
        Batcher batcher =
            engine.batcher(BatcherOptions.builder().maxWait(Duration.ofMillis(5)).build())) {
      List<CompletableFuture<ClassificationResult>> classes = new ArrayList<>();
      List<CompletableFuture<ScoreResult>> scores = new ArrayList<>();
      for (int i = 0; i < 100; i++) {
        classes.add(batcher.submit(request(i)));
        scores.add(batcher.submit(score(i)));
      }
      batcher.close();
      for (int i = 0; i < 100; i++) {
        assertEquals(engine.classify(request(i)).scores(), classes.get(i).get().scores());
        assertEquals(engine.score(score(i)).scores(), scores.get(i).get().scores());
      }
      assertEquals(0, engine.metrics().finished().get(FinishReason.REJECTED));
      assertThrows(EngineClosedException.class, () -> batcher.submit(request(0)));
    }
  }

  @Test
  void badRequestsAreRefusedAtOnce() {
    try (Engine engine = open(10);
        Batcher batcher = engine.batcher(BatcherOptions.defaults())) {
      assertThrows(
          InvalidRequestException.class,
          () ->
              batcher.submit(ClassificationRequest.builder().promptTokens(1 << 20).build()));
      CompletableFuture<ClassificationResult> longer =
          batcher.submit(ClassificationRequest.builder().promptTokens(new int[65]).build());
      batcher.close();
      assertTrue(
          assertThrows(Exception.class, longer::get).getCause()
              instanceof InvalidRequestException);
    }
    try (Engine plain =
            Engine.open(Fixtures.options("llama").maxContextLength(32).maxSequences(1).build());
        Batcher batcher = plain.batcher(BatcherOptions.defaults())) {
      CompletableFuture<ClassificationResult> none =
          batcher.submit(ClassificationRequest.builder().promptTokens(1, 2).build());
      batcher.close();
      assertTrue(
          assertThrows(Exception.class, none::get).getCause()
              instanceof UnsupportedModelException);
    }
  }

  @Test
  void timeInTheBatcherCounts() throws Exception {
    try (Engine engine = open(10);
        Batcher batcher =
            engine.batcher(BatcherOptions.builder().maxWait(Duration.ofMillis(20)).build())) {
      ClassificationResult late =
          batcher
              .submit(
                  ClassificationRequest.builder()
                      .promptTokens(1, 2)
                      .timeout(Duration.ofMillis(1))
                      .build())
              .get();
      assertEquals(FinishReason.TIMEOUT, late.finishReason());
      ClassificationResult result = batcher.submit(request(1)).get();
      assertTrue(result.timings().queueMicros() >= 20_000, result.timings().toString());
    }
  }

  @Test
  void closingTheEngineEndsWhatABatcherHolds() throws Exception {
    Engine engine = open(10);
    Batcher batcher =
        engine.batcher(BatcherOptions.builder().maxWait(Duration.ofHours(1)).build());
    CompletableFuture<ClassificationResult> waits = batcher.submit(request(1));
    CompletableFuture<Void> closed = waits.thenRun(batcher::close);
    engine.close();
    assertEquals(FinishReason.CANCELLED, waits.get(10, TimeUnit.SECONDS).finishReason());
    closed.get(10, TimeUnit.SECONDS);
    assertThrows(EngineClosedException.class, () -> batcher.submit(request(1)));
    assertThrows(EngineClosedException.class, () -> engine.batcher(BatcherOptions.defaults()));
    batcher.close();
  }

  @Test
  void closingTheEngineFromAnActionOnABatchersResult() throws Exception {
    Engine engine = open(10);
    Batcher batcher =
        engine.batcher(BatcherOptions.builder().maxWait(Duration.ofMillis(1)).build());
    List<CompletableFuture<Void>> closing = new ArrayList<>();
    for (int i = 0; i < 40; i++) {
      try {
        closing.add(batcher.submit(request(i)).thenRun(engine::close));
      } catch (SluiceException e) {
        assertTrue(e instanceof EngineClosedException, e.toString());
      }
    }
    for (CompletableFuture<Void> action : closing) {
      action.get(60, TimeUnit.SECONDS);
    }
    batcher.close();
  }
}

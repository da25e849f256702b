package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ClassificationRequest;
import ai.sluice.api.ClassificationResult;
import ai.sluice.api.EngineClosedException;
import ai.sluice.api.EngineMetrics;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationOutcome;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.LoadProgress;
import ai.sluice.api.Sampling;
import ai.sluice.api.ScoreOutcome;
import ai.sluice.api.ScoreRequest;
import ai.sluice.api.ScoreResult;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What an engine refuses, rejects or gives up, and that other requests do not notice. */
@Timeout(300)
class AdmissionTest {
  private static final String MODEL = "adaptive_moe";
  private static final int CONTEXT = 400;

  private static EngineOptions.Builder options() {
    return Fixtures.options(MODEL).maxContextLength(CONTEXT).maxSequences(1);
  }

  private static GenerationRequest.Builder request(int length) {
    int[] tokens = new int[length];
    Arrays.fill(tokens, 5);
    return GenerationRequest.builder()
        .promptTokens(tokens)
        .sampling(Sampling.greedy())
        .ignoreEos(true);
  }

  private static EngineMetrics idle(Engine engine) {
    EngineMetrics metrics;
    do {
      metrics = engine.metrics();
    } while (metrics.running() > 0 || metrics.waiting() > 0);
    return metrics;
  }

  /** Lets what is submitted next wait for a while, so that it is not over before it is ended. */
  private static void keepBusy(Engine engine) {
    for (int i = 0; i < 40; i++) {
      engine.submit(request(3).maxNewTokens(390).build());
    }
  }

  private static void untilCancelled(Engine engine, long requests) {
    EngineMetrics metrics;
    do {
      metrics = engine.metrics();
    } while (metrics.finished().get(FinishReason.CANCELLED) < requests);
    assertEquals(requests, metrics.finished().get(FinishReason.CANCELLED));
  }

  private static GenerationResult whole(Engine engine) {
    return engine.generate(request(3).maxNewTokens(50).build());
  }

  @Test
  void promptTokensThatWaitAreBounded() {
    try (Engine engine = Engine.open(options().maxQueuedTokens(10).build())) {
      List<Integer> alone = whole(engine).tokens();
      Generation runs = engine.submit(request(300).maxNewTokens(90).build());
      runs.iterator().next(); // nobody waits now
      Generation waits = engine.submit(request(3).maxNewTokens(50).build());
      Generation fills = engine.submit(request(7).maxNewTokens(1).build());
      GenerationResult full = engine.generate(request(1).build());
      assertEquals(FinishReason.REJECTED, full.finishReason());
      assertTrue(full.detail().contains("maxQueuedTokens = 10"), full.detail());
      ScoreResult score =
          engine.score(
              ScoreRequest.builder()
                  .promptTokens(1)
                  .continuationTokens(List.of(new int[] {1}))
                  .build());
      assertEquals(FinishReason.REJECTED, score.finishReason());
      ClassificationResult label =
          engine.classify(ClassificationRequest.builder().promptTokens(1).build());
      assertEquals(FinishReason.REJECTED, label.finishReason());
      assertEquals(3, engine.metrics().finished().get(FinishReason.REJECTED));
      assertEquals(2, engine.metrics().waiting());
      fills.cancel();
      assertEquals(FinishReason.CANCELLED, fills.result().join().finishReason());
      Generation again = engine.submit(request(7).maxNewTokens(1).build());
      runs.cancel();
      assertEquals(alone, waits.result().join().tokens());
      assertEquals(FinishReason.LENGTH, again.result().join().finishReason());
      // Longer than the bound, but nobody waits.
      assertEquals(
          FinishReason.LENGTH,
          engine.generate(request(100).maxNewTokens(1).build()).finishReason());
      assertEquals(0, idle(engine).kvBlocksUsed());
    }
  }

  @Test
  void aBatchOfRequestsIsNotRejectedByTheBoundOfTokens() {
    try (Engine engine = Engine.open(options().maxQueuedTokens(1).maxQueuedRequests(2).build())) {
      List<GenerationRequest> requests = new ArrayList<>();
      for (int i = 0; i < 20; i++) {
        requests.add(request(1 + i).maxNewTokens(3).build());
      }
      for (GenerationOutcome outcome : engine.generateAll(requests)) {
        assertEquals(FinishReason.LENGTH, outcome.orElseThrow().finishReason());
      }
      assertEquals(0, engine.metrics().finished().get(FinishReason.REJECTED));
    }
  }

  @Test
  void timeoutsInTheQueueAndBeforeTheFirstToken() {
    try (Engine engine = Engine.open(options().build())) {
      List<Integer> alone = whole(engine).tokens();
      Generation runs = engine.submit(request(3).maxNewTokens(390).build());
      runs.iterator().next();
      Duration soon = Duration.ofMillis(1);
      List<Generation> late =
          List.of(
              engine.submit(request(4).queueTimeout(soon).build()),
              engine.submit(request(4).firstTokenTimeout(soon).n(3).build()));
      CompletableFuture<ScoreResult> score =
          engine.submit(ScoreRequest.builder().textTokens(1, 2, 3).queueTimeout(soon).build());
      CompletableFuture<ClassificationResult> label =
          engine.submit(
              ClassificationRequest.builder().promptTokens(1).queueTimeout(soon).build());
      Generation patient =
          engine.submit(
              request(3).maxNewTokens(50).queueTimeout(Duration.ofDays(99_999))
                  .firstTokenTimeout(Duration.ofSeconds(Long.MAX_VALUE)).build());
      for (Generation generation : late) {
        GenerationResult result = generation.result().join();
        assertEquals(FinishReason.TIMEOUT, result.finishReason());
        assertEquals(0, result.usage().newTokens());
        result.alternatives().forEach(
            other -> assertEquals(FinishReason.TIMEOUT, other.finishReason()));
      }
      assertEquals(FinishReason.TIMEOUT, score.join().finishReason());
      assertEquals(FinishReason.TIMEOUT, label.join().finishReason());
      runs.cancel();
      assertEquals(alone, patient.result().join().tokens());
      // Once it has its first token, neither counts.
      GenerationResult unhurried =
          engine.generate(
              request(3).maxNewTokens(390).queueTimeout(Duration.ofSeconds(60))
                  .firstTokenTimeout(Duration.ofSeconds(60)).build());
      assertEquals(FinishReason.LENGTH, unhurried.finishReason());
      assertEquals(0, idle(engine).kvBlocksUsed());
    }
  }

  /** Completed from outside in any way, a classification leaves the engine. */
  @Test
  void whoeverCompletesAClassificationEndsIt() {
    try (Engine engine = Engine.open(options().build())) {
      keepBusy(engine);
      List<CompletableFuture<ClassificationResult>> open = new ArrayList<>();
      for (int i = 0; i < 4; i++) {
        open.add(engine.submit(ClassificationRequest.builder().promptTokens(1, 2).build()));
      }
      open.get(0).cancel(false);
      open.get(1).completeExceptionally(new ArithmeticException());
      open.get(2).complete(Unstarted.classification(FinishReason.ERROR, "mine"));
      open.get(3).orTimeout(1, TimeUnit.NANOSECONDS);
      assertThrows(CompletionException.class, () -> open.get(3).join());
      untilCancelled(engine, 4);
    }
  }

  @Test
  void whoeverCompletesAResultEndsTheGeneration() {
    try (Engine engine = Engine.open(options().build())) {
      keepBusy(engine);
      Generation late = engine.submit(request(3).maxNewTokens(390).build());
      Generation replaced = engine.submit(request(3).maxNewTokens(390).build());
      late.result().orTimeout(1, TimeUnit.NANOSECONDS);
      assertThrows(CompletionException.class, () -> late.result().join());
      replaced.result().complete(Unstarted.generation(FinishReason.ERROR, "mine", 0));
      assertEquals("mine", replaced.result().join().detail());
      untilCancelled(engine, 2);
      engine.generate(request(3).maxNewTokens(5).build());
      assertEquals(2, engine.metrics().finished().get(FinishReason.CANCELLED));
    }
  }

  @Test
  void nothingIsAValueOfItsOwn() {
    try (Engine engine = Engine.open(options().build())) {
      List<Runnable> calls =
          List.of(
              () -> engine.submit((GenerationRequest) null),
              () -> engine.generate(null),
              () -> engine.submit((ClassificationRequest) null),
              () -> engine.classify((ClassificationRequest) null),
              () -> engine.submit((ScoreRequest) null),
              () -> engine.score(null),
              () -> engine.generateAll(null),
              () -> engine.scoreAll(null));
      for (Runnable call : calls) {
        assertThrows(InvalidRequestException.class, call::run);
      }
      List<GenerationOutcome> some =
          engine.generateAll(Arrays.asList(request(2).maxNewTokens(1).build(), null));
      assertEquals(FinishReason.LENGTH, some.get(0).orElseThrow().finishReason());
      assertTrue(some.get(1).failure().orElseThrow() instanceof InvalidRequestException);
      List<ScoreOutcome> none = engine.scoreAll(Arrays.asList((ScoreRequest) null));
      assertThrows(InvalidRequestException.class, () -> none.get(0).orElseThrow());
      assertEquals(0, engine.metrics().waiting());
    }
  }

  /** Consumers and actions that throw or interrupt their thread: others get what they get alone. */
  @Test
  void callbacksThatThrowConcernNobodyElse() {
    try (Engine engine = Engine.open(options().maxSequences(4).build())) {
      List<Integer> alone = whole(engine).tokens();
      Generation broken =
          engine
              .submit(request(3).maxNewTokens(300).build())
              .onChunk(
                  chunk -> {
                    throw new AssertionError("a consumer");
                  });
      Thread caller = Thread.currentThread();
      CompletableFuture<Object> action =
          engine
              .submit(request(3).maxNewTokens(2).build())
              .result()
              .thenApply(
                  result -> {
                    // It runs here if the result was there first; the caller's own interrupt cancels.
                    if (Thread.currentThread() != caller) {
                      Thread.currentThread().interrupt();
                    }
                    throw new ArithmeticException("an action");
                  });
      CompletableFuture<Object> scored =
          engine
              .submit(ScoreRequest.builder().textTokens(1, 2, 3).build())
              .handle(
                  (result, failure) -> {
                    throw new StackOverflowError();
                  });
      assertEquals(alone, whole(engine).tokens());
      // Its consumer's thread may be slower than all of it.
      GenerationResult rest = broken.result().join();
      assertTrue(
          rest.finishReason() == FinishReason.CANCELLED || rest.tokens().size() == 300,
          rest.finishReason() + " after " + rest.tokens().size());
      assertThrows(CompletionException.class, action::join);
      assertThrows(CompletionException.class, scored::join);
      assertEquals(alone, whole(engine).tokens());
      assertEquals(0, idle(engine).kvBlocksUsed());
    }
  }

  @Test
  void closingFromCallbacksOfEveryKind() throws Exception {
    for (int kind = 0; kind < 4; kind++) {
      Engine engine = Engine.open(options().maxSequences(4).build());
      Generation beside = engine.submit(request(3).build());
      CompletableFuture<?> closed =
          switch (kind) {
            case 0 ->
                engine
                    .submit(ScoreRequest.builder().textTokens(1, 2).build())
                    .thenRun(engine::close);
            case 1 ->
                engine
                    .submit(ClassificationRequest.builder().promptTokens(1).build())
                    .thenRun(engine::close);
            case 2 ->
                engine
                    .submit(request(2).maxNewTokens(2).n(3).build())
                    .result()
                    .thenRun(engine::close);
            default ->
                engine
                    .submit(request(2).maxNewTokens(20).build())
                    .onChunk(chunk -> engine.close())
                    .result();
          };
      closed.get(60, TimeUnit.SECONDS);
      engine.close();
      beside.result().get(60, TimeUnit.SECONDS);
      assertThrows(EngineClosedException.class, () -> engine.submit(request(1).build()));
      assertThrows(
          EngineClosedException.class,
          () -> engine.scoreAll(List.of(ScoreRequest.builder().textTokens(1, 2).build())));
    }
  }

  /** A listener may use other engines, close them, or throw: the load alone is affected. */
  @Test
  void listenersMayCloseOtherEnginesAndThrow() {
    Engine other = Engine.open(options().build());
    AtomicReference<LoadProgress.Phase> last = new AtomicReference<>();
    Engine engine =
        Engine.open(
            options()
                .loadListener(
                    progress -> {
                      other.close();
                      last.set(progress.phase());
                      return true;
                    })
                .build());
    assertEquals(LoadProgress.Phase.READY, last.get());
    List<Integer> alone = whole(engine).tokens();
    for (LoadProgress.Phase phase : LoadProgress.Phase.values()) {
      assertThrows(
          StackOverflowError.class,
          () ->
              Engine.open(
                  options()
                      .loadListener(
                          progress -> {
                            if (progress.phase() == phase) {
                              throw new StackOverflowError();
                            }
                            return true;
                          })
                      .build()));
      assertThrows(
          EngineClosedException.class,
          () ->
              Engine.open(
                  options()
                      .loadListener(
                          progress -> {
                            if (progress.phase() == phase) {
                              Thread.currentThread().interrupt();
                            }
                            return phase != LoadProgress.Phase.READY
                                || progress.phase() != phase;
                          })
                      .build()),
          phase.name());
      assertTrue(Thread.interrupted());
    }
    assertEquals(alone, whole(engine).tokens());
    engine.close();
  }

  @Test
  void aClosedEngineThatIsInterruptedIsClosed() throws Exception {
    Engine engine = Engine.open(options().build());
    Generation runs = engine.submit(request(3).build());
    CountDownLatch done = new CountDownLatch(2);
    for (int i = 0; i < 2; i++) {
      new Thread(
              () -> {
                Thread.currentThread().interrupt();
                engine.close();
                assertTrue(Thread.currentThread().isInterrupted());
                done.countDown();
              })
          .start();
    }
    done.await();
    runs.result().get(10, TimeUnit.SECONDS);
    assertThrows(EngineClosedException.class, () -> engine.submit(request(1).build()));
  }

  @Test
  void theLongestThatFitsIsNamedAndFits() {
    try (Engine engine = Engine.open(options().build())) {
      assertTrue(
          assertThrows(
                  InvalidRequestException.class,
                  () -> engine.submit(request(CONTEXT).build()))
              .getMessage()
              .startsWith("prompt: 400 tokens (expected: at most 399, which leaves room"));
      assertEquals(
          FinishReason.LENGTH, engine.generate(request(CONTEXT - 1).build()).finishReason());
    }
  }
}

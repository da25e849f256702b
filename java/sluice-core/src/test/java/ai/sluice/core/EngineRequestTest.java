package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.Chunk;
import ai.sluice.api.EngineClosedException;
import ai.sluice.api.EngineMetrics;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.LoadProgress;
import ai.sluice.api.MemoryPlan;
import ai.sluice.api.Sampling;
import ai.sluice.api.TokenLogprob;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;

/** Requests on a real engine, good and bad ones. */
@Timeout(600)
class EngineRequestTest {
  private static final int CONTEXT = 64;
  private static Engine engine;
  private static int[] prompt;
  private static int[] greedy;

  @BeforeAll
  static void open() {
    engine =
        Engine.open(
            Fixtures.options("llama3_rope").maxContextLength(CONTEXT).maxSequences(4).build());
    prompt = Fixtures.ids("llama3_rope", "input_ids_0");
    greedy = Fixtures.ids("llama3_rope", "greedy_0");
  }

  @AfterAll
  static void close() {
    engine.close();
  }

  private static GenerationRequest.Builder request() {
    return GenerationRequest.builder().promptTokens(prompt).sampling(Sampling.greedy());
  }

  private static List<Integer> list(int[] values, int count) {
    return Arrays.stream(values).limit(count).boxed().toList();
  }

  private static String refused(Executable action) {
    return assertThrows(InvalidRequestException.class, action).getMessage();
  }

  @Test
  void chunksJoinToTheResult() {
    List<Integer> streamed = new ArrayList<>();
    try (Generation generation = engine.submit(request().maxNewTokens(16).build())) {
      for (Chunk chunk : generation) {
        streamed.addAll(chunk.tokens());
        assertEquals("", chunk.text());
      }
      GenerationResult result = generation.result().join();
      assertEquals(list(greedy, 16), streamed);
      assertEquals(streamed, result.tokens());
      assertEquals(FinishReason.LENGTH, result.finishReason());
      assertEquals(prompt.length, result.usage().promptTokens());
      assertEquals(16, result.usage().newTokens());
      assertEquals(0, result.usage().cachedPromptTokens());
      assertTrue(result.timings().totalMicros() >= result.timings().firstTokenMicros());
      assertTrue(result.timings().firstTokenMicros() > 0);
    }
  }

  @Test
  void aStopTokenEndsAndIsCounted() {
    GenerationResult result =
        engine.generate(request().maxNewTokens(16).stopTokenIds(greedy[3]).build());
    int at = list(greedy, 16).indexOf(greedy[3]);
    assertEquals(FinishReason.STOP, result.finishReason());
    assertEquals(list(greedy, at + 1), result.tokens());
  }

  @Test
  void withoutALimitTheContextIsTheLimit() {
    GenerationResult result = engine.generate(request().ignoreEos(true).build());
    assertEquals(FinishReason.LENGTH, result.finishReason());
    assertEquals(CONTEXT, result.usage().totalTokens());
    GenerationResult clamped =
        engine.generate(request().ignoreEos(true).maxNewTokens(Integer.MAX_VALUE).build());
    assertEquals(result.tokens(), clamped.tokens());
  }

  @Test
  void aPromptLongerThanTheContextNamesBothNumbers() {
    int[] longPrompt = new int[CONTEXT];
    String message =
        refused(() -> engine.submit(request().promptTokens(longPrompt).build()));
    assertTrue(message.startsWith("prompt: 64 tokens (expected: at most 63"), message);
    assertTrue(message.contains("maxContextLength can be raised to 512"), message);
    GenerationResult fits =
        engine.generate(
            request().promptTokens(Arrays.copyOf(longPrompt, 63)).ignoreEos(true).build());
    assertEquals(1, fits.usage().newTokens());
  }

  @Test
  void numbersBeyondTheModelAreRefused() {
    assertEquals(
        "promptTokens[1]: 288 (expected: 0 to 287, the model's vocabulary)",
        refused(() -> engine.submit(request().promptTokens(1, 288).build())));
    assertTrue(refused(() -> engine.submit(request().stopTokenIds(288).build()))
        .startsWith("stopTokenIds: 288"));
    assertTrue(refused(() -> engine.submit(
            request().sampling(Sampling.builder().logitBias(288, 1).build()).build()))
        .startsWith("logitBias token: 288"));
    assertTrue(refused(() -> engine.submit(request().logprobs(21).build()))
        .startsWith("logprobs: 21 (expected: at most 20"));
  }

  @Test
  void textWithoutATokenizerNamesTheMissingFile() {
    assertFalse(engine.modelInfo().hasTokenizer());
    for (GenerationRequest request :
        List.of(GenerationRequest.of("hello"), request().stop("x").build())) {
      CheckpointFormatException e =
          assertThrows(CheckpointFormatException.class, () -> engine.submit(request));
      assertTrue(e.getMessage().contains("tokenizer.json"), e.getMessage());
    }
    assertThrows(CheckpointFormatException.class, () -> engine.tokenizer());
  }

  @Test
  void aSeedReproducesWhateverRunsBeside() {
    Sampling hot = Sampling.builder().temperature(1.5).topP(0.99).build();
    GenerationRequest seeded =
        request().sampling(hot).seed(42).maxNewTokens(20).ignoreEos(true).build();
    GenerationResult first = engine.generate(seeded);
    assertEquals(42, first.seed());
    List<Generation> crowd = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      crowd.add(engine.submit(request().sampling(hot).maxNewTokens(15).ignoreEos(true).build()));
    }
    assertEquals(first.tokens(), engine.generate(seeded).tokens());
    Set<List<Integer>> different = new java.util.HashSet<>();
    crowd.forEach(g -> different.add(g.result().join().tokens()));
    assertTrue(different.size() > 4, "unseeded generations differ");
    assertNotEquals(
        first.tokens(), engine.generate(seeded.toBuilder().seed(43).build()).tokens());
    GenerationResult drawn = engine.generate(seeded.toBuilder().seed(crowdSeed(crowd)).build());
    assertEquals(crowd.get(0).result().join().tokens(), drawn.tokens().subList(0, 15));
  }

  private static long crowdSeed(List<Generation> crowd) {
    return crowd.get(0).result().join().seed();
  }

  @Test
  void logProbabilitiesAreThoseOfTheRawLogits() {
    GenerationResult result =
        engine.generate(request().maxNewTokens(8).logprobs(3).ignoreEos(true).build());
    assertEquals(8, result.logprobs().size());
    for (int i = 0; i < 8; i++) {
      TokenLogprob logprob = result.logprobs().get(i);
      assertEquals(greedy[i], logprob.token());
      assertEquals(0, logprob.rank());
      assertEquals(3, logprob.top().size());
      assertEquals(logprob.token(), logprob.top().get(0).token());
      assertEquals(logprob.logprob(), logprob.top().get(0).logprob());
      assertTrue(logprob.top().get(1).logprob() <= logprob.logprob());
      assertTrue(logprob.logprob() < 0);
    }
    assertTrue(engine.generate(request().maxNewTokens(2).build()).logprobs().isEmpty());
  }

  @Test
  void biasAndPenaltiesChangeTheChoice() {
    Sampling forbidden =
        Sampling.greedy().toBuilder().logitBias(greedy[0], Float.NEGATIVE_INFINITY).build();
    assertNotEquals(
        greedy[0],
        engine.generate(request().sampling(forbidden).maxNewTokens(1).build()).tokens().get(0));
    Sampling forced = Sampling.greedy().toBuilder().logitBias(17, 1e6f).build();
    GenerationResult result =
        engine.generate(request().sampling(forced).maxNewTokens(4).ignoreEos(true).build());
    assertEquals(List.of(17, 17, 17, 17), result.tokens());
    // Beyond the bias: each use of 17 costs more than it gains.
    Sampling repelled =
        Sampling.builder().temperature(0).logitBias(17, 50).frequencyPenalty(100).build();
    List<Integer> once =
        engine.generate(request().sampling(repelled).maxNewTokens(4).ignoreEos(true).build())
            .tokens();
    assertEquals(17, once.get(0));
    assertFalse(once.subList(1, 4).contains(17), once.toString());
  }

  @Test
  void aTimeoutIsAResult() {
    GenerationResult result =
        engine.generate(request().ignoreEos(true).timeout(Duration.ofNanos(1)).build());
    assertEquals(FinishReason.TIMEOUT, result.finishReason());
    assertEquals(
        FinishReason.LENGTH,
        engine.generate(request().maxNewTokens(2).timeout(Duration.ofSeconds(Long.MAX_VALUE))
            .build()).finishReason());
  }

  @Test
  void cancellingFreesEverything() {
    for (int i = 0; i < 50; i++) {
      Generation generation = engine.submit(request().ignoreEos(true).build());
      if (i % 3 == 0) {
        generation.iterator().next();
      }
      if (i % 2 == 0) {
        generation.cancel();
      } else {
        generation.result().cancel(true);
      }
      generation.cancel();
      generation.close();
    }
    engine.generate(request().maxNewTokens(1).build());
    EngineMetrics metrics = waitForIdle();
    assertEquals(0, metrics.kvBlocksUsed());
    assertTrue(metrics.finished().get(FinishReason.CANCELLED) > 0);
  }

  private static EngineMetrics waitForIdle() {
    EngineMetrics metrics;
    do {
      metrics = engine.metrics();
    } while (metrics.running() > 0 || metrics.waiting() > 0);
    return metrics;
  }

  @Test
  void anInterruptedGenerateIsCancelled() {
    Thread.currentThread().interrupt();
    GenerationResult result = engine.generate(request().ignoreEos(true).build());
    assertTrue(Thread.interrupted());
    assertTrue(
        EnumSet.of(FinishReason.CANCELLED, FinishReason.LENGTH).contains(result.finishReason()));
  }

  @Test
  void manyThreadsGetTheirOwnAnswers() throws Exception {
    List<Thread> threads = new ArrayList<>();
    List<Throwable> failures = new ArrayList<>();
    for (int t = 0; t < 8; t++) {
      int i = t % 3;
      int[] input = Fixtures.ids("llama3_rope", "input_ids_" + i);
      List<Integer> want = list(Fixtures.ids("llama3_rope", "greedy_" + i), 16);
      Thread thread =
          new Thread(
              () -> {
                for (int k = 0; k < 10; k++) {
                  assertEquals(
                      want,
                      engine.generate(
                          request().promptTokens(input).maxNewTokens(16).build()).tokens());
                }
              });
      thread.setUncaughtExceptionHandler(
          (who, e) -> {
            synchronized (failures) {
              failures.add(e);
            }
          });
      threads.add(thread);
      thread.start();
    }
    for (Thread thread : threads) {
      thread.join();
    }
    assertTrue(failures.isEmpty(), failures.toString());
  }

  @Test
  void aFullQueueRejectsWithAResult() {
    try (Engine small =
        Engine.open(
            Fixtures.options("llama").maxContextLength(400).maxSequences(1).maxQueuedRequests(2)
                .build())) {
      List<Generation> open = new ArrayList<>();
      for (int i = 0; i < 40; i++) {
        open.add(
            small.submit(GenerationRequest.builder().promptTokens(1, 2).ignoreEos(true).build()));
      }
      open.forEach(Generation::cancel);
      long rejected = 0;
      for (Generation generation : open) {
        GenerationResult result = generation.result().join();
        if (result.finishReason() == FinishReason.REJECTED) {
          assertTrue(result.detail().contains("maxQueuedRequests = 2"), result.detail());
          rejected++;
        }
      }
      assertTrue(rejected > 0);
      assertEquals(rejected, small.metrics().finished().get(FinishReason.REJECTED));
    }
  }

  @Test
  void generateAllKeepsTheOrderAndTheOutcomeOfEach() {
    List<GenerationRequest> requests = new ArrayList<>();
    for (int i = 0; i < 60; i++) {
      requests.add(
          i % 7 == 3
              ? request().promptTokens(288 + i).build()
              : request().maxNewTokens(1 + i % 9).ignoreEos(true).build());
    }
    try (Engine small =
        Engine.open(
            Fixtures.options("llama3_rope").maxContextLength(CONTEXT).maxSequences(2)
                .maxQueuedRequests(3).build())) {
      var outcomes = small.generateAll(requests);
      assertEquals(60, outcomes.size());
      for (int i = 0; i < 60; i++) {
        if (i % 7 == 3) {
          assertTrue(outcomes.get(i).failure().orElseThrow() instanceof InvalidRequestException);
        } else {
          assertEquals(list(greedy, 1 + i % 9), outcomes.get(i).orElseThrow().tokens());
        }
      }
      assertEquals(List.of(), small.generateAll(List.of()));
      Thread.currentThread().interrupt();
      var cancelled =
          small.generateAll(
              java.util.Collections.nCopies(8, request().ignoreEos(true).build()));
      assertTrue(Thread.interrupted());
      assertTrue(
          cancelled.stream()
              .anyMatch(o -> o.orElseThrow().finishReason() == FinishReason.CANCELLED));
    }
  }

  @Test
  void optionsThatContradictTheModelAreRefused() {
    assertTrue(
        refused(() -> Engine.open(Fixtures.options("llama").maxContextLength(1 << 24).build()))
            .startsWith("maxContextLength: 16777216 (expected: at most"));
    assertTrue(
        refused(() -> Engine.open(Fixtures.options("llama").kvCacheBytes(1).build()))
            .startsWith("kvCacheBytes: 1 (expected: at least"));
  }

  @Test
  void memoryIsPlannedWithoutLoading() {
    MemoryPlan plan =
        Engine.planMemory(Fixtures.options("llama").maxContextLength(64).maxSequences(2).build());
    assertTrue(plan.weightBytes() > 0 && plan.workspaceBytes() > 0);
    assertEquals(2 * 64 * plan.kvBytesPerToken(), plan.kvCacheBytes());
    assertEquals(64, plan.maxContextLength());
    MemoryPlan estimate =
        MemoryPlan.estimate(
            Fixtures.options("llama").maxContextLength(64).maxSequences(2).build());
    assertEquals(plan.weightBytes(), estimate.weightBytes());
    assertEquals(plan.kvCacheBytes(), estimate.kvCacheBytes());
    assertEquals(plan.workspaceBytes(), estimate.workspaceBytes());
  }

  @Test
  void theListenerSeesEveryPhaseAndMayAbort() {
    Set<LoadProgress.Phase> seen = EnumSet.noneOf(LoadProgress.Phase.class);
    Engine.open(
            Fixtures.options("llama").loadListener(progress -> seen.add(progress.phase()) || true)
                .build())
        .close();
    assertEquals(EnumSet.allOf(LoadProgress.Phase.class), seen);
    for (LoadProgress.Phase phase : LoadProgress.Phase.values()) {
      EngineClosedException e =
          assertThrows(
              EngineClosedException.class,
              () ->
                  Engine.open(
                      Fixtures.options("llama")
                          .loadListener(progress -> progress.phase() != phase).build()));
      assertTrue(e.getMessage().contains(phase.name()), e.getMessage());
    }
    assertThrows(
        ArithmeticException.class,
        () ->
            Engine.open(
                Fixtures.options("llama")
                    .loadListener(
                        progress -> {
                          throw new ArithmeticException("listener");
                        })
                    .build()));
  }

  @Test
  void anInterruptAbortsTheLoad() {
    Thread.currentThread().interrupt();
    assertThrows(
        EngineClosedException.class, () -> Engine.open(Fixtures.options("llama").build()));
    assertTrue(Thread.interrupted());
  }

  @Test
  void modelInfoTellsWhatWasDecided() {
    var info = engine.modelInfo();
    assertEquals("llama", info.architecture());
    // What a machine has decides; BackendChoiceTest says how.
    assertEquals(
        BackendChoice.of(Fixtures.options("llama").build(), OptionResolver.systemInfo()).backend(),
        info.backend());
    assertEquals(List.of(2, 5, 7), info.eosTokenIds().stream().sorted().toList());
    assertEquals(512, info.modelContextLength());
    assertEquals(CONTEXT, info.maxContextLength());
    assertEquals(288, info.vocabSize());
    assertTrue(info.numParameters() > 0 && info.weightBytes() > 0 && info.kvBlocks() > 0);
    assertFalse(info.kernels().isEmpty());
    assertFalse(info.sampling().source().isEmpty());
  }
}

package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ClassificationRequest;
import ai.sluice.api.ClassificationResult;
import ai.sluice.api.EngineClosedException;
import ai.sluice.api.EngineMetrics;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ModelHead;
import ai.sluice.api.Sampling;
import ai.sluice.api.UnsupportedModelException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Heads beside generation, on a real engine, with the scores that the fixture expects. */
@Timeout(600)
class ClassificationTest {
  private static final String MODEL = "adaptive_moe";
  private static final int PROMPTS = 3;
  private static final int CONTEXT = 64;

  private static Engine engine;

  @BeforeAll
  static void open() {
    engine =
        Engine.open(Fixtures.options(MODEL).maxContextLength(CONTEXT).maxSequences(8).build());
  }

  @AfterAll
  static void close() {
    engine.close();
  }

  private static int[] prompt(int i) {
    return Fixtures.ids(MODEL, "input_ids_" + i);
  }

  private static ClassificationRequest request(int i) {
    return ClassificationRequest.builder().promptTokens(prompt(i)).build();
  }

  private static GenerationRequest.Builder greedy(int i) {
    return GenerationRequest.builder()
        .promptTokens(prompt(i))
        .sampling(Sampling.greedy())
        .ignoreEos(true)
        .maxNewTokens(16);
  }

  private static void assertScores(int i, ClassificationResult result) {
    assertEquals(FinishReason.STOP, result.finishReason(), result.detail());
    float[] got = new float[result.scores().size()];
    for (int k = 0; k < got.length; k++) {
      got[k] = result.scores().get(k);
    }
    ErrorMeter meter = new ErrorMeter();
    double error =
        meter.compare("prompt " + i, got, Fixtures.floats(MODEL, "classification64_" + i));
    assertTrue(error < Verifier.FLOAT32_TOLERANCE, "prompt " + i + ": " + error);
    assertEquals(prompt(i).length, result.usage().promptTokens());
    assertEquals(0, result.usage().newTokens());
    assertTrue(result.timings().totalMicros() > 0);
  }

  @Test
  void headsAreNamed() {
    assertEquals(
        List.of(
            new ModelHead("generation", ModelHead.Kind.GENERATION, 0),
            new ModelHead("classification", ModelHead.Kind.CLASSIFICATION, 5),
            new ModelHead("reasoning", ModelHead.Kind.REASONING, 0)),
        engine.modelInfo().heads());
  }

  @Test
  void scoresAreTheExpectedOnes() {
    for (int i = 0; i < PROMPTS; i++) {
      assertScores(i, engine.classify(request(i)));
    }
    ClassificationRequest named =
        ClassificationRequest.builder().promptTokens(prompt(0)).head("classification").build();
    assertEquals(
        engine.classify(request(0)).scores(), engine.classify(named).scores());
  }

  @Test
  void scoresAreTheSameBesideGenerations() {
    List<CompletableFuture<ClassificationResult>> scores = new ArrayList<>();
    List<Generation> generations = new ArrayList<>();
    for (int round = 0; round < 6; round++) {
      for (int i = 0; i < PROMPTS; i++) {
        generations.add(engine.submit(greedy(i).build()));
        scores.add(engine.submit(request(i)));
      }
    }
    for (int k = 0; k < scores.size(); k++) {
      assertScores(k % PROMPTS, scores.get(k).join());
      assertEquals(
          Arrays.stream(Fixtures.ids(MODEL, "greedy_" + k % PROMPTS)).boxed().toList(),
          generations.get(k).result().join().tokens());
    }
  }

  @Test
  void theReasoningHeadChoosesTokens() {
    for (int i = 0; i < PROMPTS; i++) {
      float[] logits = Fixtures.floats(MODEL, "reasoning64_last_" + i);
      int best = 0;
      for (int token = 1; token < logits.length; token++) {
        best = logits[token] > logits[best] ? token : best;
      }
      List<Integer> alone = engine.generate(greedy(i).head("reasoning").build()).tokens();
      assertEquals(best, alone.get(0), "prompt " + i);
      assertEquals(16, alone.size());
      List<Integer> generation = engine.generate(greedy(i).build()).tokens();
      assertFalse(alone.equals(generation), "both heads say the same");
      // Rows of two heads in one step.
      Generation one = engine.submit(greedy(i).head("reasoning").build());
      Generation two = engine.submit(greedy(i).build());
      assertEquals(alone, one.result().join().tokens());
      assertEquals(generation, two.result().join().tokens());
    }
  }

  @Test
  void headsThatDoNotSuitAreRefused() {
    assertEquals(
        "head: reasoning (expected: classification, which give scores)",
        assertThrows(
                InvalidRequestException.class,
                () ->
                    engine.classify(
                        ClassificationRequest.builder()
                            .promptTokens(1)
                            .head("reasoning")
                            .build()))
            .getMessage());
    assertTrue(
        assertThrows(
                InvalidRequestException.class,
                () -> engine.submit(greedy(0).head("classification").build()))
            .getMessage()
            .startsWith("head: classification (expected: generation, reasoning"));
    assertTrue(
        assertThrows(
                InvalidRequestException.class,
                () -> engine.classify(
                    ClassificationRequest.builder().promptTokens(new int[CONTEXT + 1]).build()))
            .getMessage()
            .startsWith("prompt: 65 tokens (expected: at most 64, the context; "));
  }

  /** No token follows, so the prompt may fill the context; another context changes no score. */
  @Test
  void thePromptMayFillTheContext() {
    int[] longest = new int[CONTEXT];
    for (int i = 0; i < CONTEXT; i++) {
      longest[i] = prompt(0)[i % prompt(0).length];
    }
    ClassificationRequest whole = ClassificationRequest.builder().promptTokens(longest).build();
    ClassificationResult full = engine.classify(whole);
    assertEquals(FinishReason.STOP, full.finishReason(), full.detail());
    assertEquals(CONTEXT, full.usage().promptTokens());
    try (Engine wider =
        Engine.open(Fixtures.options(MODEL).maxContextLength(2 * CONTEXT).build())) {
      assertEquals(wider.classify(whole).scores(), full.scores());
    }
  }

  @Test
  void aModelWithoutScoresSaysSo() {
    try (Engine plain =
        Engine.open(Fixtures.options("mixtral").maxContextLength(32).maxSequences(1).build())) {
      UnsupportedModelException e =
          assertThrows(
              UnsupportedModelException.class,
              () -> plain.classify(ClassificationRequest.builder().promptTokens(1, 2).build()));
      assertTrue(e.getMessage().startsWith("heads: none gives scores"), e.getMessage());
      assertEquals(0, plain.metrics().waiting());
    }
  }

  @Test
  void aTimeoutIsAResult() {
    ClassificationResult late =
        engine.classify(
            ClassificationRequest.builder()
                .promptTokens(prompt(0))
                .timeout(Duration.ofNanos(1))
                .build());
    assertEquals(FinishReason.TIMEOUT, late.finishReason());
    assertEquals(List.of(), late.scores());
    assertThrows(IllegalStateException.class, late::label);
  }

  @Test
  void cancellingFreesEverything() {
    for (int i = 0; i < 60; i++) {
      CompletableFuture<ClassificationResult> future = engine.submit(request(i % PROMPTS));
      future.cancel(true);
    }
    ClassificationRequest first = request(0);
    Thread.currentThread().interrupt();
    ClassificationResult interrupted = engine.classify(first);
    assertTrue(Thread.interrupted());
    assertTrue(
        EnumSet.of(FinishReason.CANCELLED, FinishReason.STOP)
            .contains(interrupted.finishReason()));
    assertScores(0, engine.classify(request(0)));
    EngineMetrics metrics;
    do {
      metrics = engine.metrics();
    } while (metrics.running() > 0 || metrics.waiting() > 0);
    assertEquals(0, metrics.kvBlocksUsed());
  }

  @Test
  void aFullQueueRejectsWithAResult() {
    Engine small =
        Engine.open(
            Fixtures.options(MODEL).maxContextLength(CONTEXT).maxSequences(1)
                .maxQueuedRequests(2).build());
    List<CompletableFuture<ClassificationResult>> futures = new ArrayList<>();
    try (small) {
      for (int i = 0; i < 300; i++) {
        futures.add(small.submit(request(2)));
      }
      long rejected = 0;
      for (CompletableFuture<ClassificationResult> future : futures) {
        ClassificationResult result = future.join();
        if (result.finishReason() == FinishReason.REJECTED) {
          assertTrue(result.detail().contains("maxQueuedRequests = 2"), result.detail());
          rejected++;
        } else {
          assertScores(2, result);
        }
      }
      assertTrue(rejected > 0);
      assertEquals(rejected, small.metrics().finished().get(FinishReason.REJECTED));
    }
    assertThrows(EngineClosedException.class, () -> small.classify(request(0)));
  }
}

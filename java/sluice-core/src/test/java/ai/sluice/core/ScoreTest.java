package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.ComputeDtype;
import ai.sluice.api.ContinuationScore;
import ai.sluice.api.EngineMetrics;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.Numerics;
import ai.sluice.api.Sampling;
import ai.sluice.api.ScoreOutcome;
import ai.sluice.api.ScoreRequest;
import ai.sluice.api.ScoreResult;
import ai.sluice.api.TokenLogprob;
import ai.sluice.api.TopLogprob;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Scores on a real engine, against sums of the fixtures' logits in double. */
@Timeout(600)
class ScoreTest {
  private static final String MODEL = "llama";
  private static final double TOLERANCE = 1e-4;
  private static final int CONTEXT = 96;

  private static EngineOptions.Builder options(String model) {
    return Fixtures.options(model).maxContextLength(CONTEXT).maxSequences(4);
  }

  /** Log-probabilities of a fixture prompt's tokens, each after those before it; 0 has none. */
  private static double[] expected(String model, int prompt) {
    int[] ids = Fixtures.ids(model, "input_ids_" + prompt);
    float[] logits = Fixtures.floats(model, "logits64_" + prompt);
    double[] logprobs = new double[ids.length];
    for (int position = 1; position < ids.length; position++) {
      logprobs[position] = logprob(logits, ids.length, position - 1, ids[position]);
    }
    return logprobs;
  }

  private static double logprob(float[] logits, int rows, int row, int token) {
    int vocab = logits.length / rows;
    double max = Double.NEGATIVE_INFINITY;
    for (int v = 0; v < vocab; v++) {
      max = Math.max(max, logits[row * vocab + v]);
    }
    double sum = 0;
    for (int v = 0; v < vocab; v++) {
      sum += Math.exp(logits[row * vocab + v] - max);
    }
    return logits[row * vocab + token] - max - Math.log(sum);
  }

  private static double sum(double[] values, int begin, int end) {
    return Arrays.stream(values, begin, end).sum();
  }

  private static EngineMetrics idle(Engine engine) {
    EngineMetrics metrics;
    do {
      metrics = engine.metrics();
    } while (metrics.running() > 0 || metrics.waiting() > 0);
    return metrics;
  }

  private static String refused(Executable action) {
    return assertThrows(InvalidRequestException.class, action).getMessage();
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama", "mistral", "qwen3_moe", "deepseek_v3", "gpt_oss"})
  void sumsAreThoseOfTheFixture(String model) {
    try (Engine engine = Engine.open(options(model).build())) {
      for (int p = 0; p < 3; p++) {
        int[] ids = Fixtures.ids(model, "input_ids_" + p);
        double[] want = expected(model, p);
        for (int split : new int[] {1, ids.length / 2, ids.length - 1}) {
          ContinuationScore score =
              engine
                  .score(
                      ScoreRequest.builder()
                          .promptTokens(Arrays.copyOf(ids, split))
                          .continuationTokens(
                              List.of(Arrays.copyOfRange(ids, split, ids.length)))
                          .build())
                  .scores()
                  .get(0);
          assertEquals(sum(want, split, ids.length), score.logprob(), TOLERANCE * ids.length);
          assertEquals(ids.length - split, score.tokenCount());
          for (int i = split; i < ids.length; i++) {
            assertEquals(ids[i], score.tokens().get(i - split).token());
            assertEquals(want[i], score.tokens().get(i - split).logprob(), TOLERANCE);
          }
        }
        ScoreResult whole = engine.score(ScoreRequest.builder().textTokens(ids).build());
        assertEquals(FinishReason.STOP, whole.finishReason());
        assertEquals(ids.length - 1, whole.scores().get(0).tokenCount());
        assertEquals(
            sum(want, 1, ids.length), whole.scores().get(0).logprob(), TOLERANCE * ids.length);
      }
      assertEquals(0, idle(engine).kvBlocksUsed());
    }
  }

  /** What greedy decoding says is greedy, with rank 0 all along; one other token is not. */
  @Test
  void whatGreedyDecodingSaysIsGreedy() {
    try (Engine engine = Engine.open(options(MODEL).build())) {
      int[] prompt = Fixtures.ids(MODEL, "input_ids_0");
      int[] greedy = Fixtures.ids(MODEL, "greedy_0");
      int[] wrong = greedy.clone();
      wrong[7] = (greedy[7] + 1) % 256;
      ScoreResult result =
          engine.score(
              ScoreRequest.builder()
                  .promptTokens(prompt)
                  .continuationTokens(List.of(wrong, greedy))
                  .build());
      assertTrue(result.scores().get(1).isGreedy());
      assertTrue(result.scores().get(1).tokens().stream().allMatch(t -> t.rank() == 0));
      assertEquals(false, result.scores().get(0).isGreedy());
      assertTrue(result.scores().get(0).tokens().get(7).rank() > 0);
      assertEquals(1, result.best());
      var generated =
          engine.generate(
              GenerationRequest.builder()
                  .promptTokens(prompt)
                  .sampling(Sampling.greedy())
                  .ignoreEos(true)
                  .maxNewTokens(16)
                  .logprobs(0)
                  .build());
      for (int i = 0; i < 16; i++) {
        assertEquals(
            generated.logprobs().get(i).logprob(),
            result.scores().get(1).tokens().get(i).logprob(),
            TOLERANCE);
      }
    }
  }

  /** All tokens of the vocabulary at one position: their probabilities are one together. */
  @Test
  void theLikeliestTokensOfEachPlace() {
    try (Engine engine = Engine.open(options(MODEL).build())) {
      int[] text = Fixtures.ids(MODEL, "input_ids_1");
      ContinuationScore plain =
          engine.score(ScoreRequest.builder().textTokens(text).build()).scores().get(0);
      ContinuationScore score =
          engine
              .score(ScoreRequest.builder().textTokens(text).logprobs(3).build())
              .scores()
              .get(0);
      assertEquals(text.length - 1, score.tokenCount());
      float[] logits = Fixtures.floats(MODEL, "logits64_1");
      for (int i = 0; i < score.tokenCount(); i++) {
        TokenLogprob token = score.tokens().get(i);
        List<TopLogprob> top = token.top();
        assertEquals(3, top.size());
        assertEquals(0, plain.tokens().get(i).top().size());
        assertEquals(token.rank() == 0, top.get(0).token() == token.token());
        for (int n = 0; n < 3; n++) {
          double expected = logprob(logits, text.length, i, top.get(n).token());
          assertEquals(expected, top.get(n).logprob(), TOLERANCE);
          assertTrue(n == 0 || top.get(n - 1).logprob() >= top.get(n).logprob());
          if (token.rank() == n) {
            assertEquals(token.logprob(), top.get(n).logprob());
          }
        }
      }
      InvalidRequestException refused =
          assertThrows(
              InvalidRequestException.class,
              () -> engine.score(ScoreRequest.builder().textTokens(text).logprobs(21).build()));
      assertEquals(
          "logprobs: 21 (expected: at most 20, the engine's maxLogprobs)", refused.getMessage());
    }
    for (int bad : new int[] {-1, 1001, Integer.MAX_VALUE}) {
      assertThrows(
          InvalidRequestException.class, () -> ScoreRequest.builder().logprobs(bad));
    }
  }

  @Test
  void oneTokenContinuationsAreTargetsOfOneRow() {
    try (Engine engine = Engine.open(options(MODEL).prefixCache(false).build())) {
      int[] prompt = Fixtures.ids(MODEL, "input_ids_1");
      int vocab = engine.modelInfo().vocabSize();
      List<int[]> all = new ArrayList<>();
      for (int v = 0; v < vocab; v++) {
        all.add(new int[] {v});
      }
      ScoreResult result =
          engine.score(
              ScoreRequest.builder().promptTokens(prompt).continuationTokens(all).build());
      double total = result.scores().stream().mapToDouble(s -> Math.exp(s.logprob())).sum();
      assertEquals(1, total, 1e-5);
      assertEquals(1, result.scores().stream().filter(ContinuationScore::isGreedy).count());
      assertEquals(
          vocab,
          result.scores().stream().mapToInt(s -> s.tokens().get(0).rank()).distinct().count());
      // Rows of at most 256 targets each.
      long rows = (vocab + 255) / 256;
      assertTrue(
          idle(engine).promptTokens() <= rows * prompt.length, idle(engine).toString());
    }
  }

  /** Four answers of several tokens behind a long prompt: the prompt is computed once. */
  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void aSharedPromptIsComputedOnce(boolean prefixCache) {
    // What is shared is shared in whole blocks.
    try (Engine engine =
        Engine.open(options(MODEL).blockSize(16).prefixCache(prefixCache).build())) {
      int[] prompt = new int[61];
      for (int i = 0; i < prompt.length; i++) {
        prompt[i] = (i * 37 + 5) % 250;
      }
      List<int[]> answers = new ArrayList<>();
      for (int i = 0; i < 8; i++) {
        answers.add(new int[] {i % 2, 10 + i, 20 + i, 30 + i});
      }
      answers.add(new int[] {3});
      answers.add(new int[] {4});
      ScoreResult result =
          engine.score(
              ScoreRequest.builder().promptTokens(prompt).continuationTokens(answers).build());
      assertEquals(10, result.scores().size());
      long computed = idle(engine).promptTokens();
      // The prompt, and behind it of each of nine rows: its last token and the row's own.
      long most = prompt.length + 8 * (1 + 3) + 1;
      assertTrue(computed <= most, computed + " prompt tokens computed, of " + most);
      assertEquals(
          9 * prompt.length + 8 * 3 - computed, result.usage().cachedPromptTokens());
      List<ContinuationScore> alone = new ArrayList<>();
      for (int[] answer : answers) {
        alone.add(
            engine
                .score(
                    ScoreRequest.builder()
                        .promptTokens(prompt)
                        .continuationTokens(List.of(answer))
                        .build())
                .scores()
                .get(0));
      }
      for (int i = 0; i < 10; i++) {
        assertEquals(alone.get(i).logprob(), result.scores().get(i).logprob(), 1e-4);
      }
      if (!prefixCache) {
        // Nothing that one request left is found by another: the second row finds the first's.
        ScoreResult other =
            engine.score(
                ScoreRequest.builder()
                    .promptTokens(prompt)
                    .continuationTokens(List.of(new int[] {7, 8}, new int[] {9, 8}))
                    .build());
        assertTrue(other.usage().cachedPromptTokens() <= prompt.length, other.usage().toString());
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"FLOAT32", "BFLOAT16"})
  void batchedScoresAreThoseOfEachAlone(ComputeDtype dtype) {
    List<ScoreRequest> requests = new ArrayList<>();
    for (int i = 0; i < 12; i++) {
      int[] ids = Fixtures.ids("qwen3_moe", "input_ids_" + i % 3);
      int split = 1 + (i * 5) % (ids.length - 2);
      int[] rest = Arrays.copyOfRange(ids, split, ids.length);
      int[] other = rest.clone();
      other[other.length - 1] = (other[other.length - 1] + 1) % 250;
      requests.add(
          ScoreRequest.builder()
              .promptTokens(Arrays.copyOf(ids, split))
              .continuationTokens(List.of(rest, new int[] {i}, other))
              .build());
    }
    EngineOptions.Builder options =
        options("qwen3_moe").dtype(dtype).numerics(Numerics.BATCH_INVARIANT);
    List<List<ContinuationScore>> alone = new ArrayList<>();
    try (Engine engine = Engine.open(options.prefixCache(false).build())) {
      requests.forEach(request -> alone.add(engine.score(request).scores()));
    }
    try (Engine engine =
        Engine.open(options.prefixCache(true).maxStepTokens(7).maxSequences(7).build())) {
      List<Generation> beside = new ArrayList<>();
      for (int i = 0; i < 6; i++) {
        beside.add(
            engine.submit(
                GenerationRequest.builder().promptTokens(i, 2, 3).maxNewTokens(40).build()));
      }
      for (int round = 0; round < 2; round++) {
        List<ScoreOutcome> outcomes = engine.scoreAll(requests);
        for (int i = 0; i < requests.size(); i++) {
          assertEquals(alone.get(i), outcomes.get(i).orElseThrow().scores(), "request " + i);
        }
      }
      beside.forEach(Generation::close);
    }
  }

  @Test
  void scoreAllKeepsTheOrderAndTheOutcomeOfEach() {
    try (Engine engine = Engine.open(options(MODEL).maxQueuedRequests(3).build())) {
      List<ScoreRequest> requests = new ArrayList<>();
      for (int i = 0; i < 40; i++) {
        requests.add(
            ScoreRequest.builder()
                .promptTokens(1, 2, 3)
                .continuationTokens(List.of(new int[] {i % 5 == 4 ? 100_000 : i, i}))
                .build());
      }
      List<ScoreOutcome> outcomes = engine.scoreAll(requests);
      for (int i = 0; i < 40; i++) {
        if (i % 5 == 4) {
          assertEquals(
              "continuationTokens[0][0]: 100000 (expected: 0 to 255, the model's vocabulary)",
              outcomes.get(i).failure().orElseThrow().getMessage());
        } else {
          assertEquals(i, outcomes.get(i).orElseThrow().scores().get(0).tokens().get(0).token());
        }
      }
      assertEquals(List.of(), engine.scoreAll(List.of()));
      assertEquals(0, engine.metrics().finished().get(FinishReason.REJECTED));
      Thread.currentThread().interrupt();
      List<ScoreOutcome> cut = engine.scoreAll(Collections.nCopies(20, requests.get(0)));
      assertTrue(Thread.interrupted());
      assertEquals(20, cut.size());
      assertTrue(
          cut.stream()
              .anyMatch(o -> o.orElseThrow().finishReason() == FinishReason.CANCELLED));
      assertEquals(0, idle(engine).kvBlocksUsed());
    }
  }

  @Test
  void beyondTheContextTheNumberThatFitsIsNamed() {
    try (Engine engine = Engine.open(options(MODEL).build())) {
      int[] prompt = new int[CONTEXT - 1];
      ScoreRequest.Builder request = ScoreRequest.builder().promptTokens(prompt);
      ScoreResult fits =
          engine.score(
              request.continuationTokens(List.of(new int[] {1, 2}, new int[] {3})).build());
      assertEquals(FinishReason.STOP, fits.finishReason(), fits.detail());
      assertEquals(
          "continuations[1]: 3 tokens behind 95 of the prompt (expected: together at most 97, the"
              + " context and one token behind it)",
          refused(
              () ->
                  engine.submit(
                      request
                          .continuationTokens(List.of(new int[] {1}, new int[] {1, 2, 3}))
                          .build())));
      assertTrue(
          refused(
                  () ->
                      engine.submit(
                          ScoreRequest.builder().textTokens(new int[CONTEXT + 2]).build()))
              .contains("expected: together at most 97"));
      assertEquals(0, engine.metrics().waiting());
    }
  }

  @Test
  void badInputIsRefusedByName() {
    ScoreRequest.Builder b = ScoreRequest.builder();
    assertTrue(refused(b::build).startsWith("input: 0 given"));
    assertTrue(
        refused(() -> ScoreRequest.builder().prompt("a").text("b").build())
            .startsWith("input: 2 given"));
    assertTrue(
        refused(() -> ScoreRequest.builder().prompt("a").build()).startsWith("continuations: 0"));
    assertTrue(
        refused(() -> ScoreRequest.builder().text("a").continuations("b").build())
            .startsWith("continuations: 1"));
    assertTrue(
        refused(
                () ->
                    ScoreRequest.builder()
                        .prompt("a")
                        .continuations("b")
                        .continuationTokens(List.of(new int[] {1}))
                        .build())
            .startsWith("continuations: 2 lists"));
    assertEquals(
        "continuations: 0 (expected: 1 to 1024)", refused(() -> b.continuations(List.of())));
    assertEquals(
        "continuations: 1025 (expected: 1 to 1024)",
        refused(() -> b.continuations(Collections.nCopies(1025, "x"))));
    assertTrue(refused(() -> b.continuations("a", "")).startsWith("continuations[1]: empty"));
    assertTrue(refused(() -> b.continuations("\ud800")).startsWith("continuations[0]: half"));
    assertTrue(refused(() -> b.prompt("\ud800")).startsWith("prompt: half"));
    assertTrue(refused(() -> b.text("")).startsWith("text: empty"));
    assertTrue(refused(() -> b.textTokens(1)).startsWith("textTokens: 1"));
    assertTrue(refused(() -> b.promptTokens()).startsWith("promptTokens: empty"));
    assertTrue(refused(() -> b.promptTokens(-1)).startsWith("promptTokens[0]: -1"));
    assertTrue(
        refused(() -> b.continuationTokens(List.of(new int[] {1}, new int[0])))
            .startsWith("continuationTokens[1]: empty"));
    assertTrue(
        refused(() -> b.continuationTokens(List.of(new int[] {Integer.MIN_VALUE})))
            .startsWith("continuationTokens[0][0]: -2147483648"));
    assertTrue(refused(() -> b.timeout(Duration.ZERO)).startsWith("timeout"));
    assertTrue(refused(() -> b.queueTimeout(Duration.ofNanos(-1))).startsWith("queueTimeout"));
    assertTrue(refused(() -> b.cacheSalt("x".repeat(1025))).startsWith("cacheSalt: 1025"));
    try (Engine engine = Engine.open(options(MODEL).build())) {
      assertEquals(
          "promptTokens[1]: 2147483647 (expected: 0 to 255, the model's vocabulary)",
          refused(
              () ->
                  engine.score(
                      ScoreRequest.builder()
                          .promptTokens(1, Integer.MAX_VALUE)
                          .continuationTokens(List.of(new int[] {1}))
                          .build())));
      assertTrue(
          refused(
                  () ->
                      engine.score(
                          ScoreRequest.builder().textTokens(1, 2).head("nobody").build()))
              .startsWith("head: nobody"));
      assertThrows(
          CheckpointFormatException.class, () -> engine.score(ScoreRequest.of("a", " b")));
      assertEquals(0, engine.metrics().waiting());
    }
  }

  private static ScoreRequest.Builder slow() {
    List<int[]> many = new ArrayList<>();
    for (int i = 0; i < ScoreRequest.MAX_CONTINUATIONS; i++) {
      many.add(new int[] {i % 250, 1 + i / 250, 3, 4, 5, 6});
    }
    return ScoreRequest.builder().promptTokens(1, 2, 3).continuationTokens(many);
  }

  @Test
  void cancellingTimingOutAndClosingEndTheWork() throws Exception {
    Engine engine = Engine.open(options(MODEL).build());
    CompletableFuture<ScoreResult> last;
    try (engine) {
      for (int i = 0; i < 20; i++) {
        CompletableFuture<ScoreResult> future = engine.submit(slow().build());
        if (i % 2 == 0) {
          future.cancel(true);
        } else {
          future.completeExceptionally(new TimeoutException());
        }
      }
      assertTrue(idle(engine).finished().get(FinishReason.CANCELLED) > 0);
      ScoreResult late = engine.score(slow().timeout(Duration.ofNanos(1)).build());
      assertEquals(FinishReason.TIMEOUT, late.finishReason());
      assertEquals(List.of(), late.scores());
      assertThrows(IllegalStateException.class, late::best);
      Thread.currentThread().interrupt();
      ScoreResult cut = engine.score(slow().build());
      assertTrue(Thread.interrupted());
      assertTrue(
          EnumSet.of(FinishReason.CANCELLED, FinishReason.STOP).contains(cut.finishReason()));
      EngineMetrics metrics = idle(engine);
      assertEquals(0, metrics.kvBlocksUsed());
      last = engine.submit(slow().build());
    }
    ScoreResult closed = last.get(10, TimeUnit.SECONDS);
    assertEquals(FinishReason.CANCELLED, closed.finishReason());
    assertEquals("the engine was closed", closed.detail());
  }
}

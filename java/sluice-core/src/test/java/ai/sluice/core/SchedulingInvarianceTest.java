package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineMetrics;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.Numerics;
import ai.sluice.api.Sampling;
import ai.sluice.api.TokenLogprob;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * What else the engine does never changes greedy tokens or log-probabilities: batching, order, the
 * size of chunks, preemption, found prefixes, drafts, and all of them at once. To the bit where the
 * numerics promise it; where they do not, the largest difference is printed.
 */
@Timeout(600)
class SchedulingInvarianceTest {
  private static final int CONTEXT = 96;
  private static final int BLOCK = 8;
  private static final int REQUESTS = 20;

  /** A way to run the requests, against running them one by one with nothing of it. */
  private record Way(
      String name, UnaryOperator<EngineOptions.Builder> options, boolean reversed, boolean alone,
      boolean speculates) {}

  private static final List<Way> WAYS =
      List.of(
          new Way("batched", o -> o, false, false, false),
          new Way("in reverse order", o -> o, true, false, false),
          new Way("in chunks of 7", o -> o.maxStepTokens(7).maxSequences(5), false, false, false),
          new Way("drafted alone", o -> o.maxDraftTokens(4), false, true, true),
          new Way("drafted beside each other", o -> o.maxDraftTokens(4), false, false, true),
          new Way("found again", o -> o.prefixCache(true), true, true, false),
          new Way(
              "all at once", o -> o.maxDraftTokens(4).prefixCache(true).maxStepTokens(23), true,
              false, true));

  private static EngineOptions.Builder options(String fixture, ComputeDtype dtype) {
    return Fixtures.options(fixture)
        .dtype(dtype)
        .maxContextLength(CONTEXT)
        .blockSize(BLOCK)
        .maxSequences(8)
        .maxStepTokens(64)
        .maxDraftTokens(0)
        .prefixCache(false)
        .threads(2);
  }

  /** Greedy ones for the most part, of prompts that repeat themselves and each other. */
  private static List<GenerationRequest> requests(String fixture) {
    Random random = new Random(29);
    int[] first = Fixtures.ids(fixture, "input_ids_0");
    List<GenerationRequest> requests = new ArrayList<>();
    for (int i = 0; i < REQUESTS; i++) {
      int[] prompt = new int[4 + random.nextInt(44)];
      int period = 3 + random.nextInt(8);
      for (int k = 0; k < prompt.length; k++) {
        prompt[k] = i % 2 == 0 ? first[k % period % first.length] : first[k % first.length];
      }
      if (i % 4 == 1) {
        prompt[prompt.length - 1] = 3 + random.nextInt(200);
      }
      requests.add(
          GenerationRequest.builder()
              .promptTokens(prompt)
              .sampling(
                  i % 5 < 4
                      ? Sampling.greedy()
                      : Sampling.builder().temperature(0.8).repetitionPenalty(1.1).build())
              .seed(i)
              .logprobs(4)
              .maxNewTokens(12 + random.nextInt(36))
              .ignoreEos(true)
              .build());
    }
    return requests;
  }

  private static List<GenerationResult> run(
      Engine engine, List<GenerationRequest> requests, Way way) {
    if (way.alone()) {
      return requests.stream().map(engine::generate).toList();
    }
    List<Generation> open = new ArrayList<>();
    List<GenerationRequest> order = new ArrayList<>(requests);
    if (way.reversed()) {
      Collections.reverse(order);
    }
    order.forEach(request -> open.add(engine.submit(request)));
    if (way.reversed()) {
      Collections.reverse(open);
    }
    return open.stream().map(generation -> generation.result().join()).toList();
  }

  private static void checkMet(Way way, EngineOptions options, EngineMetrics metrics) {
    String met = way.name() + ": " + metrics;
    assertEquals(0, metrics.kvBlocksUsed(), met);
    assertTrue(!way.speculates() || metrics.drafts().accepted() > 0, met);
    assertTrue(
        !way.speculates() || metrics.drafts().accepted() < metrics.drafts().proposed(), met);
    assertTrue(!options.prefixCache() || metrics.prefixHits() > REQUESTS / 4, met);
    assertTrue(options.kvCacheBytes().isEmpty() || metrics.preemptions() > 0, met);
  }

  @ParameterizedTest
  @CsvSource({
    "llama, FLOAT32", "llama, BFLOAT16", "llama3_rope, BFLOAT16", "qwen3_moe, FLOAT32",
    "qwen3_moe, BFLOAT16", "deepseek_v2, FLOAT32", "deepseek_v3, BFLOAT16", "gpt_oss, FLOAT32",
    "adaptive_moe, FLOAT32", "adaptive_moe, BFLOAT16", "adaptive_moe_sparse, FLOAT32",
    "adaptive_moe_sparse, BFLOAT16"
  })
  void theBitsStayTheSame(String fixture, ComputeDtype dtype) {
    compare(fixture, dtype, Numerics.BATCH_INVARIANT);
  }

  @ParameterizedTest
  @CsvSource({
    "llama, FLOAT32, 1e-4", "llama, BFLOAT16, 1", "qwen3_moe, FLOAT32, 1e-4",
    "deepseek_v3, FLOAT32, 1e-4", "deepseek_v3, BFLOAT16, 1", "adaptive_moe, FLOAT32, 1e-4"
  })
  void whereTheyMayDifferTheyDifferLittle(String fixture, ComputeDtype dtype, double bound) {
    double largest = compare(fixture, dtype, Numerics.FAST);
    assertTrue(largest <= bound, largest + " (expected: at most " + bound + ")");
  }

  /** The largest difference of log-probabilities; fails for any if the numerics allow none. */
  private static double compare(String fixture, ComputeDtype dtype, Numerics numerics) {
    List<GenerationRequest> requests = requests(fixture);
    List<GenerationResult> expected = new ArrayList<>();
    EngineOptions.Builder plain = options(fixture, dtype).numerics(numerics);
    long bytesPerBlock;
    try (Engine engine = Engine.open(plain.maxSequences(1).overlap(false).build())) {
      requests.forEach(request -> expected.add(engine.generate(request)));
      bytesPerBlock = engine.modelInfo().kvCacheBytes() / (CONTEXT / BLOCK);
    }
    List<Way> ways = new ArrayList<>(WAYS);
    for (boolean all : new boolean[] {false, true}) {
      ways.add(
          new Way(
              all ? "all at once, preempted" : "preempted",
              o -> o.kvCacheBytes(2 * CONTEXT / BLOCK * bytesPerBlock).prefixCache(all)
                  .maxDraftTokens(all ? 4 : 0),
              all, false, all));
    }
    double largest = 0;
    int otherTokens = 0;
    for (Way way : ways) {
      EngineOptions options =
          way.options().apply(options(fixture, dtype).numerics(numerics)).build();
      try (Engine engine = Engine.open(options)) {
        List<GenerationResult> results = run(engine, requests, way);
        if (way.name().equals("found again")) {
          results = run(engine, requests, way);
        }
        for (int i = 0; i < REQUESTS; i++) {
          if (numerics == Numerics.BATCH_INVARIANT) {
            String what = way.name() + ", request " + i;
            assertEquals(expected.get(i).tokens(), results.get(i).tokens(), what);
            // Doubles of records are compared by their bits.
            assertEquals(expected.get(i).logprobs(), results.get(i).logprobs(), what);
          }
          largest = Math.max(largest, difference(expected.get(i), results.get(i)));
          otherTokens += expected.get(i).tokens().equals(results.get(i).tokens()) ? 0 : 1;
        }
        checkMet(way, options, engine.metrics());
      }
    }
    System.out.printf(
        "%s, %s, %s: log-probabilities differ by at most %.3g over %d ways; %d of %d outputs have"
            + " another token%n",
        fixture, dtype, numerics, largest, ways.size(), otherTokens, ways.size() * REQUESTS);
    return largest;
  }

  /** Over the tokens up to the first that differs, whose log-probability is not compared. */
  private static double difference(GenerationResult expected, GenerationResult got) {
    double largest = 0;
    for (int k = 0; k < expected.tokens().size(); k++) {
      if (!expected.tokens().get(k).equals(got.tokens().get(k))) {
        return largest;
      }
      TokenLogprob a = expected.logprobs().get(k);
      TokenLogprob b = got.logprobs().get(k);
      largest = Math.max(largest, Math.abs(a.logprob() - b.logprob()));
    }
    return largest;
  }
}

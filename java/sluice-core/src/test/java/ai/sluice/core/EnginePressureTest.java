package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineMetrics;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.Numerics;
import ai.sluice.api.Sampling;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Many requests for little memory, and many that are given up, on the real engine. */
@Timeout(600)
class EnginePressureTest {
  private static final int CONTEXT = 96;
  private static final int BLOCK = 8;
  private static final int RUNNING = 16;
  private static final int REQUESTS = 500;
  /** Requests that differ; the others repeat them. */
  private static final int DISTINCT = 125;

  private static EngineOptions.Builder options(String fixture, ComputeDtype dtype) {
    return Fixtures.options(fixture)
        .dtype(dtype)
        .numerics(Numerics.BATCH_INVARIANT)
        .maxContextLength(CONTEXT)
        .blockSize(BLOCK)
        .maxSequences(RUNNING)
        .maxStepTokens(48)
        .maxDraftTokens(3)
        .threads(2);
  }

  /** A prompt of the fixture's tokens, which shares its beginning with many others. */
  private static int[] prompt(Random random, int[] base, int length) {
    int[] prompt = Arrays.copyOf(base, length);
    for (int k = random.nextInt(length); k < length; k++) {
      prompt[k] = 3 + random.nextInt(200);
    }
    return prompt;
  }

  private static List<GenerationRequest> requests(String fixture) {
    Random random = new Random(17);
    int[] base = Arrays.copyOf(Fixtures.ids(fixture, "input_ids_0"), 40);
    List<GenerationRequest> requests = new ArrayList<>();
    for (int i = 0; i < DISTINCT; i++) {
      requests.add(
          GenerationRequest.builder()
              .promptTokens(prompt(random, base, 1 + random.nextInt(40)))
              .sampling(
                  i % 2 == 0
                      ? Sampling.greedy()
                      : Sampling.builder().temperature(0.9).topP(0.95)
                          .repetitionPenalty(i % 4 == 1 ? 1.2 : 1).build())
              .seed(i)
              .logprobs(3)
              .maxNewTokens(8 + random.nextInt(40))
              .priority(random.nextInt(8) == 0 ? 1 : 0)
              .ignoreEos(true)
              .build());
    }
    return requests;
  }

  /** Blocks of each group that a request holds at its end. */
  private static int blocks(GenerationResult result) {
    int positions = result.usage().promptTokens() + result.usage().newTokens() - 1;
    return (positions + BLOCK - 1) / BLOCK;
  }

  @ParameterizedTest
  @CsvSource({
    "llama, FLOAT32", "llama, BFLOAT16", "qwen3_moe, FLOAT32", "deepseek_v3, BFLOAT16",
    "adaptive_moe, FLOAT32", "adaptive_moe, BFLOAT16"
  })
  void fiveHundredFinishWithAQuarterOfTheBlocks(String fixture, ComputeDtype dtype) {
    List<GenerationRequest> requests = requests(fixture);
    List<GenerationResult> alone = new ArrayList<>();
    long bytesPerBlock;
    long groups;
    try (Engine engine =
        Engine.open(
            options(fixture, dtype).maxSequences(1).overlap(false).prefixCache(false)
                .maxDraftTokens(0).build())) {
      requests.forEach(request -> alone.add(engine.generate(request)));
      bytesPerBlock = engine.modelInfo().kvCacheBytes() / (CONTEXT / BLOCK);
      groups = engine.metrics().kvBlocksTotal() / (CONTEXT / BLOCK);
    }
    // What as many as may run at once hold at their ends, on average.
    int demand = alone.stream().mapToInt(r -> blocks(r)).sum() * RUNNING / DISTINCT;
    try (Engine engine =
        Engine.open(options(fixture, dtype).kvCacheBytes(demand / 4 * bytesPerBlock).build())) {
      assertEquals(demand / 4 * groups, engine.metrics().kvBlocksTotal());
      Random random = new Random(5);
      int[] order = random.ints(REQUESTS, 0, DISTINCT).toArray();
      List<Generation> open =
          Arrays.stream(order).mapToObj(i -> engine.submit(requests.get(i))).toList();
      for (int i = 0; i < REQUESTS; i++) {
        GenerationResult expected = alone.get(order[i]);
        GenerationResult result = open.get(i).result().join();
        assertEquals(FinishReason.LENGTH, result.finishReason(), "request " + order[i]);
        assertEquals(expected.tokens(), result.tokens(), "request " + order[i]);
        // Doubles of records are compared by their bits.
        assertEquals(expected.logprobs(), result.logprobs(), "request " + order[i]);
      }
      EngineMetrics metrics = engine.metrics();
      System.out.printf(
          "%s, %s: %d requests, %d blocks of each group for a demand of %d: %d preemptions, %d"
              + " prefix hits, %d of %d drafted tokens accepted%n",
          fixture, dtype, REQUESTS, demand / 4, demand, metrics.preemptions(),
          metrics.prefixHits(), metrics.drafts().accepted(), metrics.drafts().proposed());
      assertTrue(metrics.preemptions() > 0);
      assertTrue(metrics.drafts().accepted() > 0);
      assertEquals(0, metrics.kvBlocksUsed());
    }
  }

  private static GenerationRequest sampled(Random random, int[] base) {
    return GenerationRequest.builder()
        .promptTokens(prompt(random, base, 1 + random.nextInt(60)))
        .maxNewTokens(16 + random.nextInt(20))
        .sampling(Sampling.builder().temperature(1).build())
        .n(random.nextInt(6) == 0 ? 2 + random.nextInt(3) : 1)
        .priority(random.nextInt(3))
        .ignoreEos(true)
        .build();
  }

  @Test
  void tenThousandCancelsLeakNoBlock() {
    Random random = new Random(23);
    int[] base = Arrays.copyOf(Fixtures.ids("llama", "input_ids_0"), 60);
    GenerationRequest probe =
        GenerationRequest.builder().promptTokens(base).maxNewTokens(20).logprobs(2)
            .ignoreEos(true).build();
    int cancels = 0;
    int queued = 0;
    int prefilling = 0;
    int decoding = 0;
    int finished = 0;
    long bytes;
    try (Engine engine =
        Engine.open(options("llama", ComputeDtype.FLOAT32).maxSequences(4).build())) {
      bytes = engine.modelInfo().kvCacheBytes();
    }
    // Room for four of the longest, and sixteen of some length run.
    try (Engine engine =
        Engine.open(
            options("llama", ComputeDtype.FLOAT32).kvCacheBytes(bytes).build())) {
      GenerationResult expected = engine.generate(probe);
      List<Generation> open = new ArrayList<>();
      while (cancels < 10_000) {
        // Some cancels come while most wait, some while most run.
        int most = cancels / 100 % 2 == 0 ? 40 : RUNNING / 2;
        while (open.size() < most) {
          open.add(engine.submit(sampled(random, base)));
        }
        Generation victim = open.remove(random.nextInt(open.size()));
        if (random.nextInt(8) == 0) {
          // Not before it has begun to answer.
          victim.iterator().hasNext();
        }
        cancels++;
        victim.cancel();
        victim.cancel();
        GenerationResult result = victim.result().join();
        boolean answered = !result.tokens().isEmpty();
        if (result.finishReason() != FinishReason.CANCELLED) {
          finished++;
        } else if (answered) {
          decoding++;
        } else if (result.timings().queueMicros() == result.timings().totalMicros()) {
          queued++;
        } else {
          prefilling++;
        }
      }
      open.forEach(Generation::cancel);
      open.forEach(generation -> generation.result().join());
      EngineMetrics metrics = engine.metrics();
      System.out.printf(
          "%d cancels: %d in the queue, %d before their first token, %d later, %d too late;"
              + " %d preemptions%n",
          cancels, queued, prefilling, decoding, finished, metrics.preemptions());
      assertEquals(0, metrics.kvBlocksUsed());
      assertEquals(0, metrics.running());
      assertEquals(0, metrics.waiting());
      assertTrue(
          queued > 100 && prefilling > 0 && decoding > 100 && finished < 9_000,
          queued + ", " + prefilling + ", " + decoding + ", " + finished);
      GenerationResult after = engine.generate(probe);
      assertEquals(expected.tokens(), after.tokens());
      assertEquals(expected.logprobs(), after.logprobs());
      assertEquals(0, engine.metrics().kvBlocksUsed());
    }
  }
}

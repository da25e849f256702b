package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.Chunk;
import ai.sluice.api.EngineMetrics;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.Numerics;
import ai.sluice.api.Sampling;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Several alternatives of one request, on a real engine. */
@Timeout(600)
class AlternativesTest {
  private static final String MODEL = "llama";
  private static final Sampling HOT = Sampling.builder().temperature(1.5).build();

  private static EngineOptions.Builder options() {
    return Fixtures.options(MODEL)
        .numerics(Numerics.BATCH_INVARIANT)
        .maxContextLength(128)
        .maxSequences(3);
  }

  private static GenerationRequest.Builder request() {
    return GenerationRequest.builder()
        .promptTokens(Fixtures.ids(MODEL, "input_ids_2"))
        .sampling(HOT)
        .seed(Long.MAX_VALUE - 1)
        .logprobs(1)
        .ignoreEos(true)
        .maxNewTokens(24);
  }

  private static List<GenerationResult> all(GenerationResult result) {
    List<GenerationResult> all = new ArrayList<>(List.of(result));
    all.addAll(result.alternatives());
    return all;
  }

  private static EngineMetrics idle(Engine engine) {
    EngineMetrics metrics;
    do {
      metrics = engine.metrics();
    } while (metrics.running() > 0 || metrics.waiting() > 0);
    return metrics;
  }

  /** More than run at once, each as the request with its seed alone, bit for bit. */
  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void eachIsTheRequestWithItsSeed(boolean prefixCache) {
    try (Engine engine = Engine.open(options().prefixCache(prefixCache).build())) {
      List<GenerationResult> all = all(engine.generate(request().n(5).build()));
      assertEquals(5, all.size());
      for (int i = 0; i < 5; i++) {
        long seed = Long.MAX_VALUE - 1 + i;
        assertEquals(seed, all.get(i).seed());
        GenerationResult alone = engine.generate(request().seed(seed).build());
        assertEquals(alone.tokens(), all.get(i).tokens());
        assertEquals(alone.logprobs(), all.get(i).logprobs());
        assertEquals(FinishReason.LENGTH, all.get(i).finishReason());
        assertEquals(List.of(), all.get(i).alternatives().stream().skip(4).toList());
      }
      assertEquals(5, all.stream().map(GenerationResult::tokens).distinct().count());
      EngineMetrics metrics = idle(engine);
      assertEquals(10, metrics.finished().get(FinishReason.LENGTH));
      assertEquals(10 * 24, metrics.newTokens());
      assertEquals(0, metrics.kvBlocksUsed());
    }
  }

  @Test
  void greedyAlternativesAreEqual() {
    try (Engine engine = Engine.open(options().build())) {
      List<GenerationResult> all =
          all(engine.generate(request().sampling(Sampling.greedy()).n(4).build()));
      assertEquals(1, all.stream().map(GenerationResult::tokens).distinct().count());
      assertEquals(1, all.stream().map(GenerationResult::logprobs).distinct().count());
    }
  }

  @Test
  void chunksTellWhoseTheyAre() {
    try (Engine engine = Engine.open(options().build());
        Generation generation = engine.submit(request().n(3).build())) {
      Map<Integer, List<Integer>> streamed = new TreeMap<>();
      for (Chunk chunk : generation) {
        streamed.computeIfAbsent(chunk.index(), i -> new ArrayList<>()).addAll(chunk.tokens());
      }
      List<GenerationResult> all = all(generation.result().join());
      for (int i = 0; i < 3; i++) {
        assertEquals(all.get(i).tokens(), streamed.get(i));
      }
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void thePromptIsComputedOnce(boolean prefixCache) {
    try (Engine engine =
        Engine.open(options().maxSequences(6).prefixCache(prefixCache).build())) {
      int[] prompt = new int[90];
      for (int i = 0; i < prompt.length; i++) {
        prompt[i] = (i * 31 + 7) % 200;
      }
      engine.generate(request().promptTokens(prompt).maxNewTokens(4).n(6).build());
      // Each may compute the last token again, whose logits it needs.
      long computed = idle(engine).promptTokens();
      assertTrue(computed <= prompt.length + 5, computed + " prompt tokens computed");
    }
  }

  @Test
  void cancellingTimingOutAndClosingEndAll() throws Exception {
    Engine engine = Engine.open(options().build());
    Generation last;
    try (engine) {
      GenerationRequest endless = request().n(8).maxNewTokens(100).build();
      for (int i = 0; i < 12; i++) {
        Generation generation = engine.submit(endless);
        if (i % 3 == 0) {
          generation.iterator().next();
        }
        if (i % 2 == 0) {
          generation.cancel();
        } else {
          generation.result().cancel(true);
        }
      }
      // What goes from waiting to running while it is looked at is seen in neither.
      EngineMetrics metrics;
      do {
        metrics = idle(engine);
      } while (metrics.finished().values().stream().mapToLong(n -> n).sum() < 12 * 8);
      assertEquals(0, metrics.kvBlocksUsed());
      assertEquals(12 * 8, metrics.finished().values().stream().mapToLong(n -> n).sum());
      GenerationResult late =
          engine.generate(endless.toBuilder().timeout(Duration.ofNanos(1)).build());
      assertEquals(8, all(late).size());
      all(late).forEach(one -> assertEquals(FinishReason.TIMEOUT, one.finishReason()));
      last = engine.submit(endless);
    }
    GenerationResult closed = last.result().get(10, TimeUnit.SECONDS);
    assertEquals(8, all(closed).size());
    all(closed).forEach(one -> assertEquals(FinishReason.CANCELLED, one.finishReason()));
  }

  @Test
  void theNumberIsBounded() {
    for (int n : new int[] {Integer.MIN_VALUE, -1, 0, 129, Integer.MAX_VALUE}) {
      assertEquals(
          "n: " + n + " (expected: 1 to 128)",
          assertThrows(InvalidRequestException.class, () -> request().n(n)).getMessage());
    }
    try (Engine engine = Engine.open(options().build())) {
      GenerationResult most = engine.generate(request().n(128).maxNewTokens(1).build());
      assertEquals(127, most.alternatives().size());
    }
  }
}

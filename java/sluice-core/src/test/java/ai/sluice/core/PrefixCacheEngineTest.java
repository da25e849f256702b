package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ClassificationRequest;
import ai.sluice.api.ClassificationResult;
import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.InvalidRequestException;
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

/** A prefix that was found gives the same bits as one that is computed. */
@Timeout(600)
class PrefixCacheEngineTest {
  private static EngineOptions.Builder options(String fixture, ComputeDtype dtype) {
    return Fixtures.options(fixture)
        .dtype(dtype)
        .numerics(Numerics.BATCH_INVARIANT)
        .maxContextLength(96)
        .blockSize(8)
        .maxSequences(4)
        .maxStepTokens(32)
        .threads(2);
  }

  /** Prompts that share more or less of their beginning, within blocks too. */
  private static List<GenerationRequest> requests(String fixture) {
    Random random = new Random(5);
    int[] first = Fixtures.ids(fixture, "input_ids_0");
    int[] base = Arrays.copyOf(first, 40);
    for (int i = first.length; i < base.length; i++) {
      base[i] = 3 + random.nextInt(200);
    }
    List<GenerationRequest> requests = new ArrayList<>();
    for (int i = 0; i < 14; i++) {
      int shared = i < 2 ? base.length : 9 + random.nextInt(base.length - 9);
      int[] prompt = Arrays.copyOf(base, shared + (i < 2 ? 0 : 1 + random.nextInt(12)));
      for (int k = shared; k < prompt.length; k++) {
        prompt[k] = 3 + random.nextInt(200);
      }
      Sampling sampling =
          i % 2 == 0
              ? Sampling.greedy()
              : Sampling.builder().temperature(0.9).topP(0.95).repetitionPenalty(1.2).build();
      requests.add(
          GenerationRequest.builder()
              .promptTokens(prompt)
              .sampling(sampling)
              .seed(i)
              .logprobs(5)
              .maxNewTokens(12)
              .ignoreEos(true)
              .build());
    }
    return requests;
  }

  @ParameterizedTest
  @CsvSource({
    "llama, FLOAT32", "llama, BFLOAT16", "adaptive_moe, FLOAT32", "adaptive_moe, BFLOAT16",
    "adaptive_moe_sparse, FLOAT32", "deepseek_v3, FLOAT32", "gpt_oss, FLOAT32",
    "mistral, BFLOAT16"
  })
  void aFoundPrefixGivesTheSameBits(String fixture, ComputeDtype dtype) {
    List<GenerationRequest> requests = requests(fixture);
    List<GenerationResult> computed = new ArrayList<>();
    try (Engine engine = Engine.open(options(fixture, dtype).prefixCache(false).build())) {
      requests.forEach(request -> computed.add(engine.generate(request)));
      assertEquals(0, engine.metrics().prefixHits());
    }
    try (Engine engine = Engine.open(options(fixture, dtype).build())) {
      long found = 0;
      for (int i = 0; i < requests.size(); i++) {
        GenerationResult result = engine.generate(requests.get(i));
        assertEquals(computed.get(i).tokens(), result.tokens(), "request " + i);
        // Doubles of records are compared by their bits.
        assertEquals(computed.get(i).logprobs(), result.logprobs(), "request " + i);
        assertEquals(0, computed.get(i).usage().cachedPromptTokens());
        int cached = result.usage().cachedPromptTokens();
        assertTrue(i == 0 ? cached == 0 : cached >= 8, "request " + i + ": " + cached);
        found += cached;
      }
      assertEquals(39, engine.generate(requests.get(1)).usage().cachedPromptTokens());
      assertEquals(found + 39, engine.metrics().prefixHitTokens());
      assertEquals(requests.size(), engine.metrics().prefixHits());
    }
    // And beside each other, where some wait for what others compute.
    try (Engine engine = Engine.open(options(fixture, dtype).maxStepTokens(11).build())) {
      List<Generation> open = requests.stream().map(engine::submit).toList();
      for (int i = 0; i < requests.size(); i++) {
        GenerationResult result = open.get(i).result().join();
        assertEquals(computed.get(i).tokens(), result.tokens(), "request " + i);
        assertEquals(computed.get(i).logprobs(), result.logprobs(), "request " + i);
      }
      assertTrue(engine.metrics().prefixHits() >= requests.size() / 2);
    }
  }

  /** With a KV cache of two longest sequences for eight, some give up their blocks and come back. */
  @ParameterizedTest
  @CsvSource({
    "llama, FLOAT32, true", "llama, BFLOAT16, false", "adaptive_moe, FLOAT32, true",
    "adaptive_moe, FLOAT32, false", "gpt_oss, FLOAT32, true"
  })
  void thePreemptedGiveTheSameBits(String fixture, ComputeDtype dtype, boolean prefixCache) {
    List<GenerationRequest> requests =
        requests(fixture).stream()
            .map(request -> request.toBuilder().maxNewTokens(40).build())
            .toList();
    List<GenerationResult> alone = new ArrayList<>();
    EngineOptions.Builder options =
        options(fixture, dtype).prefixCache(prefixCache).maxSequences(8);
    long perBlock;
    try (Engine engine = Engine.open(options.build())) {
      requests.forEach(request -> alone.add(engine.generate(request)));
      perBlock = engine.modelInfo().kvCacheBytes() / (8 * 96 / 8);
      assertEquals(0, engine.metrics().preemptions());
    }
    try (Engine engine = Engine.open(options.kvCacheBytes(2 * 96 / 8 * perBlock).build())) {
      List<Generation> open = requests.stream().map(engine::submit).toList();
      for (int i = 0; i < requests.size(); i++) {
        GenerationResult result = open.get(i).result().join();
        assertEquals(alone.get(i).tokens(), result.tokens(), "request " + i);
        assertEquals(alone.get(i).logprobs(), result.logprobs(), "request " + i);
      }
      assertTrue(engine.metrics().preemptions() > 0);
      assertEquals(0, engine.metrics().kvBlocksUsed());
    }
  }

  @Test
  void classificationFindsWhatGenerationComputed() {
    int[] prompt = Fixtures.ids("adaptive_moe", "input_ids_0");
    ClassificationRequest request =
        ClassificationRequest.builder().promptTokens(prompt).build();
    try (Engine engine = Engine.open(options("adaptive_moe", ComputeDtype.FLOAT32).build())) {
      ClassificationResult computed = engine.classify(request);
      assertEquals(0, computed.usage().cachedPromptTokens());
      ClassificationResult found = engine.classify(request);
      assertTrue(found.usage().cachedPromptTokens() >= prompt.length / 8 * 8 - 8);
      assertEquals(computed.scores(), found.scores());
      ClassificationResult other =
          engine.classify(
              ClassificationRequest.builder().promptTokens(prompt).cacheSalt("other").build());
      assertEquals(0, other.usage().cachedPromptTokens());
      assertEquals(computed.scores(), other.scores());
    }
  }

  @Test
  void aSaltThatIsTooLongIsRefused() {
    String salt = "s".repeat(GenerationRequest.MAX_CACHE_SALT_LENGTH + 1);
    InvalidRequestException e =
        assertThrows(
            InvalidRequestException.class, () -> GenerationRequest.builder().cacheSalt(salt));
    assertEquals("cacheSalt: 1025 characters (expected: at most 1024)", e.getMessage());
  }
}

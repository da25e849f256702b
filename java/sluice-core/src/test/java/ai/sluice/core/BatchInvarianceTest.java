package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;

import ai.sluice.api.ClassificationRequest;
import ai.sluice.api.ClassificationResult;
import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.Numerics;
import ai.sluice.api.Sampling;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** BATCH_INVARIANT: the bits of a generation do not depend on what it was batched with. */
@Timeout(600)
class BatchInvarianceTest {
  private static final int REQUESTS = 24;

  @ParameterizedTest
  @CsvSource({
    "llama, FLOAT32", "qwen2, FLOAT32", "mistral, FLOAT32", "llama3_rope, FLOAT32",
    "llama3_rope, BFLOAT16", "mixtral, FLOAT32", "qwen3_moe, BFLOAT16", "deepseek, FLOAT32",
    "deepseek_v2_grouped, FLOAT32", "deepseek_v2_grouped, BFLOAT16", "deepseek_v3, FLOAT32",
    "deepseek_v3_fp8, BFLOAT16", "gpt_oss, FLOAT32", "gpt_oss_mxfp4, BFLOAT16",
    "adaptive_moe, FLOAT32", "adaptive_moe, BFLOAT16", "adaptive_moe_sparse, FLOAT32",
    "adaptive_moe_sparse, BFLOAT16"
  })
  void logProbabilitiesAreBitEqualAloneAndBatched(String fixture, ComputeDtype dtype) {
    List<GenerationRequest> requests = requests(fixture);
    List<GenerationResult> alone = new ArrayList<>();
    EngineOptions.Builder options =
        Fixtures.options(fixture).dtype(dtype).numerics(Numerics.BATCH_INVARIANT)
            .maxContextLength(96);
    try (Engine engine = Engine.open(options.maxSequences(1).overlap(false).threads(1).build())) {
      requests.forEach(request -> alone.add(engine.generate(request)));
    }
    // Small budgets cut prompts into chunks of changing length, beside changing numbers of decodes.
    for (int stepTokens : new int[] {8, 13, 256}) {
      try (Engine engine =
          Engine.open(
              options.maxSequences(8).maxStepTokens(stepTokens).overlap(true)
                  .threads(stepTokens % 2 == 0 ? 2 : 3).build())) {
        List<Generation> open = requests.stream().map(engine::submit).toList();
        for (int i = 0; i < REQUESTS; i++) {
          GenerationResult batched = open.get(i).result().join();
          assertEquals(alone.get(i).tokens(), batched.tokens(), "request " + i);
          // Doubles of records are compared by their bits.
          assertEquals(alone.get(i).logprobs(), batched.logprobs(), "request " + i);
        }
      }
    }
  }

  /** Classification too, beside generations and in chunks. */
  @ParameterizedTest
  @CsvSource({"adaptive_moe, FLOAT32", "adaptive_moe_sparse, BFLOAT16"})
  void scoresAreBitEqualAloneAndBatched(String fixture, ComputeDtype dtype) {
    EngineOptions.Builder options =
        Fixtures.options(fixture).dtype(dtype).numerics(Numerics.BATCH_INVARIANT)
            .maxContextLength(96);
    List<ClassificationRequest> requests =
        Stream.of("input_ids_0", "input_ids_1", "input_ids_2")
            .map(
                name ->
                    ClassificationRequest.builder()
                        .promptTokens(Fixtures.ids(fixture, name))
                        .build())
            .toList();
    List<List<Float>> alone;
    try (Engine engine =
        Engine.open(options.maxSequences(1).overlap(false).threads(1).build())) {
      alone = requests.stream().map(request -> engine.classify(request).scores()).toList();
    }
    try (Engine engine =
        Engine.open(
            options.maxSequences(8).maxStepTokens(11).overlap(true).threads(2).build())) {
      List<Generation> beside =
          requests(fixture).stream().limit(8).map(engine::submit).toList();
      List<CompletableFuture<ClassificationResult>> open =
          requests.stream().map(engine::submit).toList();
      for (int i = 0; i < requests.size(); i++) {
        assertEquals(alone.get(i), open.get(i).join().scores(), "prompt " + i);
      }
      beside.forEach(generation -> generation.result().join());
    }
  }

  private static List<GenerationRequest> requests(String fixture) {
    Random random = new Random(3);
    List<GenerationRequest> requests = new ArrayList<>();
    for (int i = 0; i < REQUESTS; i++) {
      int[] prompt = Fixtures.ids(fixture, "input_ids_" + i % 3);
      int length = 1 + random.nextInt(prompt.length);
      Sampling sampling =
          i % 2 == 0
              ? Sampling.greedy()
              : Sampling.builder().temperature(0.9).topK(40).topP(0.95)
                  .repetitionPenalty(i % 4 == 1 ? 1.2 : 1).build();
      requests.add(
          GenerationRequest.builder()
              .promptTokens(java.util.Arrays.copyOf(prompt, length))
              .sampling(sampling)
              .seed(i)
              .logprobs(5)
              .maxNewTokens(1 + random.nextInt(24))
              .ignoreEos(true)
              .build());
    }
    return requests;
  }
}

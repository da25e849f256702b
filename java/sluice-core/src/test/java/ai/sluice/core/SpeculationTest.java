package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.Numerics;
import ai.sluice.api.Sampling;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Drafts change neither tokens nor log-probabilities, whatever becomes of them. */
class SpeculationTest {
  private static EngineOptions.Builder options(String fixture, ComputeDtype dtype) {
    return Fixtures.options(fixture)
        .dtype(dtype)
        .numerics(Numerics.BATCH_INVARIANT)
        .maxContextLength(96)
        .blockSize(8)
        .maxSequences(4)
        .maxStepTokens(48)
        .threads(2);
  }

  /** Prompts that say things twice, greedy ones, sampled ones and ones with penalties. */
  private static List<GenerationRequest> requests() {
    Random random = new Random(9);
    List<GenerationRequest> requests = new ArrayList<>();
    for (int i = 0; i < 9; i++) {
      int period = 2 + random.nextInt(9);
      int[] prompt = new int[20 + random.nextInt(12)];
      for (int k = 0; k < prompt.length; k++) {
        prompt[k] = k < period ? 3 + random.nextInt(200) : prompt[k - period];
      }
      Sampling sampling =
          switch (i % 3) {
            case 0 -> Sampling.greedy();
            case 1 -> Sampling.builder().temperature(0.05).build();
            default -> Sampling.builder().temperature(0.1).repetitionPenalty(1.05).build();
          };
      requests.add(
          GenerationRequest.builder()
              .promptTokens(prompt)
              .sampling(sampling)
              .seed(i)
              .logprobs(3)
              .maxNewTokens(60)
              .ignoreEos(true)
              .build());
    }
    return requests;
  }

  @ParameterizedTest
  @CsvSource({
    "llama, FLOAT32, 6", "llama, BFLOAT16, 3", "mixtral, FLOAT32, 4", "deepseek_v3, FLOAT32, 4",
    "gpt_oss, BFLOAT16, 8", "adaptive_moe, FLOAT32, 5", "adaptive_moe_sparse, BFLOAT16, 5"
  })
  void draftsChangeNothing(String fixture, ComputeDtype dtype, int most) {
    List<GenerationRequest> requests = requests();
    List<GenerationResult> plain = new ArrayList<>();
    try (Engine engine = Engine.open(options(fixture, dtype).build())) {
      requests.forEach(request -> plain.add(engine.generate(request)));
      assertEquals(0, engine.metrics().drafts().proposed());
    }
    try (Engine engine = Engine.open(options(fixture, dtype).maxDraftTokens(most).build())) {
      List<Generation> open = requests.stream().map(engine::submit).toList();
      for (int i = 0; i < requests.size(); i++) {
        GenerationResult result = open.get(i).result().join();
        assertEquals(plain.get(i).tokens(), result.tokens(), "request " + i);
        // Doubles of records are compared by their bits.
        assertEquals(plain.get(i).logprobs(), result.logprobs(), "request " + i);
      }
      long drafts = engine.metrics().drafts().proposed();
      long accepted = engine.metrics().drafts().accepted();
      System.out.println(
          fixture + " " + dtype + ": " + accepted + " of " + drafts + " draft tokens were right");
      assertTrue(accepted > 0 && accepted < drafts, accepted + " of " + drafts);
      assertEquals(0, engine.metrics().kvBlocksUsed());
    }
  }
}

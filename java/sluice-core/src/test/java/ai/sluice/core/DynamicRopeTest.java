package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.Sampling;
import ai.sluice.api.TokenLogprob;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Dynamic RoPE against the same weights with a fixed base, worked out here for each prompt's length:
 * both must say the same, whatever runs beside.
 */
class DynamicRopeTest {
  private static final int MAX_POSITIONS = 16;
  private static final double FACTOR = 4;
  private static final double THETA = 500_000;
  private static final int HEAD_DIM = 16;
  private static final double TOLERANCE = 2e-5;

  @TempDir Path folder;

  @Test
  void theBaseIsFixedByTheWholePrompt() throws IOException {
    List<GenerationRequest> requests = new ArrayList<>();
    Random random = new Random(2);
    for (int length : new int[] {5, 16, 17, 24, 31, 40}) {
      requests.add(
          GenerationRequest.builder()
              .promptTokens(random.ints(length, 3, 256).toArray())
              .sampling(Sampling.greedy())
              .logprobs(0)
              .maxNewTokens(12)
              .ignoreEos(true)
              .build());
    }
    String dynamic = "\"rope_type\": \"dynamic\", \"factor\": " + FACTOR;
    List<GenerationResult> together = new ArrayList<>();
    // Small steps: prompts are prefilled in chunks, and slots are used again.
    try (Engine engine = open("dynamic", THETA, dynamic, MAX_POSITIONS, 3, 9)) {
      List<Generation> open = requests.stream().map(engine::submit).toList();
      open.forEach(g -> together.add(g.result().join()));
    }
    for (int i = 0; i < requests.size(); i++) {
      int length = requests.get(i).promptTokens().orElseThrow().length;
      double stretch = FACTOR * Math.max(length, MAX_POSITIONS) / MAX_POSITIONS - (FACTOR - 1);
      double base = THETA * Math.pow(stretch, HEAD_DIM / (HEAD_DIM - 2.0));
      try (Engine engine =
          open("plain" + i, base, "\"rope_type\": \"default\"", MAX_POSITIONS * 4, 1, 64)) {
        same(engine.generate(requests.get(i)), together.get(i));
      }
    }
    try (Engine engine = open("wrong", THETA, "\"rope_type\": \"default\"", 64, 1, 64)) {
      assertNotEquals(
          engine.generate(requests.get(5)).logprobs(), together.get(5).logprobs(),
          "the base matters");
    }
  }

  private static void same(GenerationResult expected, GenerationResult actual) {
    assertEquals(expected.tokens(), actual.tokens());
    for (int i = 0; i < expected.logprobs().size(); i++) {
      TokenLogprob want = expected.logprobs().get(i);
      assertEquals(want.logprob(), actual.logprobs().get(i).logprob(), TOLERANCE, "token " + i);
    }
  }

  private Engine open(
      String name, double theta, String rope, int maxPositions, int maxSequences, int stepTokens)
      throws IOException {
    Path copy = Files.createDirectory(folder.resolve(name));
    try (Stream<Path> files = Files.list(Fixtures.folder("llama"))) {
      for (Path file : files.toList()) {
        Files.copy(file, copy.resolve(file.getFileName()));
      }
    }
    Path config = copy.resolve("config.json");
    String text =
        Files.readString(config)
            .replace("\"rope_type\": \"default\"", rope)
            .replace("\"rope_theta\": 500000.0",
                String.format(Locale.ROOT, "\"rope_theta\": %.17g", theta))
            .replace("\"max_position_embeddings\": 512",
                "\"max_position_embeddings\": " + maxPositions);
    Files.delete(config);
    Files.writeString(config, text);
    return Engine.open(
        EngineOptions.builder().model(copy).dtype(ComputeDtype.FLOAT32).maxSequences(maxSequences)
            .maxStepTokens(stepTokens).build());
  }
}

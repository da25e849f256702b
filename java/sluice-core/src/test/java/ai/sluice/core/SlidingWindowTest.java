package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.Numerics;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Adaptive layers that see a window: blocks before it are freed, and nobody misses them. */
class SlidingWindowTest {
  @TempDir Path folder;

  private EngineOptions.Builder options() {
    return EngineOptions.builder()
        .model(folder)
        .dtype(ComputeDtype.FLOAT32)
        .numerics(Numerics.BATCH_INVARIANT)
        .maxContextLength(96)
        .blockSize(8)
        .maxSequences(2)
        .prefixCache(false)
        .threads(2);
  }

  @ParameterizedTest
  @CsvSource({"full, 16, 0", "sliding_window, 16, -1"})
  void blocksBeforeTheWindowAreFreed(String second, int retention, int others) throws IOException {
    TensorFile.copyFixture("adaptive_moe", folder);
    Path config = folder.resolve("config.json");
    String text = Files.readString(config).replaceAll("\\s+", "");
    String edited =
        text.replace("[\"full\",\"topk\"]", "[\"sliding_window\",\"" + second + "\"]")
            .replace("\"sliding_window\":256", "\"sliding_window\":16");
    assertTrue(edited.contains("\"" + second + "\"]") && edited.contains("window\":16"), text);
    Files.writeString(config, edited);
    try (LoadedModel model =
        LoadedModel.load(
            ai.sluice.checkpoint.Checkpoint.open(folder), options().build(),
            OptionResolver.systemInfo())) {
      int[] expected = others < 0 ? new int[] {retention} : new int[] {retention, others};
      assertArrayEquals(expected, model.limits().retention());
    }
    GenerationRequest request =
        GenerationRequest.builder()
            .promptTokens(Fixtures.ids("adaptive_moe", "input_ids_0"))
            .maxNewTokens(60)
            .ignoreEos(true)
            .logprobs(3)
            .build();
    GenerationResult first = null;
    for (int stepTokens : new int[] {96, 5}) {
      try (Engine engine = Engine.open(options().maxStepTokens(stepTokens).build())) {
        GenerationResult result = engine.generate(request);
        assertEquals(60, result.tokens().size(), result.detail());
        first = first == null ? result : first;
        assertEquals(first.tokens(), result.tokens());
        assertEquals(first.logprobs(), result.logprobs());
      }
    }
  }
}

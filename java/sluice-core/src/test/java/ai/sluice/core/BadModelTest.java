package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.SluiceException;
import ai.sluice.api.UnsupportedModelException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Models that contradict themselves: a typed error that says key, value and expectation. */
@Timeout(600)
class BadModelTest {
  private static final String WEIGHTS = "model.safetensors";

  @TempDir Path folder;

  private EngineOptions options() {
    return EngineOptions.builder()
        .model(folder)
        .dtype(ComputeDtype.FLOAT32)
        .maxContextLength(32)
        .maxSequences(1)
        .build();
  }

  /** Replaces a piece of the copy's config.json. */
  private void edit(String from, String to) {
    Path config = folder.resolve("config.json");
    try {
      String text = Files.readString(config).replaceAll("\\s+", "");
      assertTrue(text.contains(from), from + " is not in " + text);
      Files.writeString(config, text.replace(from, to));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Both ways to a model refuse it alike, and before anything runs. */
  private <T extends SluiceException> String refused(Class<T> type) {
    String opened = assertThrows(type, () -> Engine.open(options()).close()).getMessage();
    assertEquals(
        opened, assertThrows(type, () -> Verifier.verify(options())).getMessage());
    return opened;
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        // More experts for a token than there are.
        "mixtral | num_experts_per_tok\":2 | num_experts_per_tok\":9 | num_experts_per_tok: 9",
        "qwen3_moe | num_experts_per_tok\":3 | num_experts_per_tok\":9 | num_experts_per_tok: 9",
        "gpt_oss | num_experts_per_tok\":2 | num_experts_per_tok\":5 | num_experts_per_tok: 5",
        "adaptive_moe | moe_top_k\":2 | moe_top_k\":9 | moe_top_k: 9",
        // Groups that do not divide, or hold too few.
        "deepseek_v2_grouped | n_group\":4 | n_group\":3 | n_group: 3",
        "deepseek_v2_grouped | topk_group\":2 | topk_group\":5 | topk_group: 5",
        "deepseek_v2_grouped | topk_group\":2 | topk_group\":1 | topk_group: 1",
        // Names that nobody knows.
        "deepseek_v2_grouped | type\":\"yarn | type\":\"spiral | type: spiral",
        "deepseek_v2_grouped | group_limited_greedy | by_lot | topk_method: by_lot",
        "adaptive_moe | full | vortex | attention_types",
        // Sizes of heads.
        "adaptive_moe | hidden_size\":64 | hidden_size\":66 | hidden_size: 66",
      })
  void configsThatContradictThemselves(String fixture, String from, String to, String said) {
    TensorFile.copyFixture(fixture, folder);
    edit(from, to);
    SluiceException e =
        assertThrows(SluiceException.class, () -> Engine.open(options()).close());
    assertTrue(
        e instanceof UnsupportedModelException || e instanceof CheckpointFormatException,
        e.toString());
    assertTrue(e.getMessage().contains(said), e.getMessage());
    assertTrue(e.getMessage().contains("(expected: "), e.getMessage());
    assertEquals(e.getMessage(), refused(e.getClass()));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "qwen3_moe | head_dim\":32 | head_dim\":16 | q_proj.weight: shape: [128, 64]"
            + " (expected: [64, 64]",
        "deepseek_v2_grouped | qk_rope_head_dim\":8 | qk_rope_head_dim\":16 |"
            + " q_b_proj.weight: shape: [96, 24] (expected: [128, 24]",
        "deepseek_v2_grouped | v_head_dim\":16 | v_head_dim\":32 |"
            + " kv_b_proj.weight: shape: [128, 32] (expected: [192, 32]",
        "adaptive_moe | num_attention_heads\":4 | num_attention_heads\":8 |"
            + " relative_position: shape: [4, 16] (expected: [8, 16]",
      })
  void headSizesThatDoNotMatchTheTensors(String fixture, String from, String to, String said) {
    TensorFile.copyFixture(fixture, folder);
    edit(from, to);
    String message = refused(CheckpointFormatException.class);
    assertTrue(message.contains(said), message);
  }

  /** A model of 4 layers with 20 experts, made of a fixture, runs, and without one expert not. */
  @Test
  void aMissingExpertIsNamed() {
    TensorFile.copyFixture("qwen3_moe", folder);
    edit("num_hidden_layers\":2", "num_hidden_layers\":4");
    edit("num_local_experts\":8", "num_local_experts\":20");
    Path file = folder.resolve(WEIGHTS);
    TensorFile weights = TensorFile.read(file);
    for (int layer = 0; layer < 4; layer++) {
      String from = "model.layers." + layer % 2 + ".";
      String to = "model.layers." + layer + ".";
      for (String name : weights.tensors.keySet().toArray(new String[0])) {
        if (name.startsWith(from)) {
          weights.tensors.put(
              to + name.substring(from.length()), weights.tensors.get(name));
        }
      }
      for (int expert = 8; expert < 20; expert++) {
        for (String part : new String[] {"gate", "up", "down"}) {
          String end = "." + part + "_proj.weight";
          weights.tensors.put(
              to + "mlp.experts." + expert + end,
              weights.tensors.get(from + "mlp.experts." + expert % 8 + end));
        }
      }
      weights.tensors.computeIfPresent(
          to + "mlp.gate.weight", (name, router) -> withRows(router, 20, 64));
    }
    weights.write(file);
    try (Engine engine = Engine.open(options())) {
      assertEquals(
          3,
          engine
              .generate(
                  GenerationRequest.builder()
                      .promptTokens(1, 2, 3)
                      .maxNewTokens(3)
                      .ignoreEos(true)
                      .build())
              .usage()
              .newTokens());
    }
    assertTrue(
        weights.tensors.remove("model.layers.3.mlp.experts.17.up_proj.weight") != null);
    weights.write(file);
    CheckpointFormatException e =
        assertThrows(CheckpointFormatException.class, () -> Engine.open(options()).close());
    assertTrue(
        e.getMessage()
            .contains(
                "model.layers.3.mlp.experts.17.up_proj.weight: missing: expert 17 of layer 3"
                    + " (expected: a tensor of shape [16, 64]"),
        e.getMessage());
  }

  /** A matrix of F32 with so many rows, which begin again where they end. */
  private static TensorFile.Tensor withRows(TensorFile.Tensor matrix, int rows, int columns) {
    byte[] data = new byte[rows * columns * 4];
    for (int at = 0; at < data.length; at++) {
      data[at] = matrix.data()[at % matrix.data().length];
    }
    return new TensorFile.Tensor(matrix.dtype(), rows + "," + columns, data);
  }
}

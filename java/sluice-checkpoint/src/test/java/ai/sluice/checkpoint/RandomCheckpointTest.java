package ai.sluice.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.proto.SourceKind;
import ai.sluice.proto.WeightDestination;
import ai.sluice.proto.WeightTransfer;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class RandomCheckpointTest {
  /** The parameters that the models' own papers and cards name, in millions. */
  @ParameterizedTest
  @CsvSource({
    "deepseek-v2-lite, 15706, 27, 102400",
    "qwen3-30b-a3b,    30532, 48, 151936",
    "mixtral-8x7b,     46703, 32,  32000",
    "llama-3-8b,        8030, 32, 128256",
    "deepseek-7b,       6910, 30, 102400",
  })
  void knownModelsHaveTheirSizes(String shape, long millions, int layers, int vocab) {
    Checkpoint checkpoint = Checkpoint.random(shape);
    assertEquals(millions, Math.round(checkpoint.summary().numParameters() / 1e6));
    assertEquals(layers, checkpoint.modelSpec().getLayersCount());
    assertEquals(vocab, checkpoint.modelSpec().getVocabSize());
    assertEquals(CheckpointFormat.RANDOM, checkpoint.format());
    assertEquals(DType.BF16, checkpoint.storedDType());
  }

  @Test
  void adaptiveTakesEveryKindInTurn() {
    Checkpoint checkpoint = Checkpoint.random("adaptive");
    assertEquals(24, checkpoint.modelSpec().getLayersCount());
    assertEquals(
        6,
        checkpoint.modelSpec().getLayersList().stream()
            .map(layer -> layer.getAdaptive().getKind())
            .distinct()
            .count());
    assertEquals(64, checkpoint.modelSpec().getLayers(0).getMoe().getNumExperts());
    assertEquals(1408, checkpoint.modelSpec().getLayers(0).getMoe().getExpertIntermediateSize());
  }

  /** Random weights fill what the stored ones fill, value for value. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "llama", "mistral", "qwen2", "qwen3", "mixtral", "qwen3_moe", "deepseek", "deepseek_v2",
        "deepseek_v3", "gpt_oss", "adaptive_moe"
      })
  void coversWhatACheckpointHolds(String fixture) {
    Checkpoint stored = Checkpoint.open(Fixtures.folder(fixture));
    Checkpoint random = Checkpoint.random(Fixtures.folder(fixture).toString());
    assertEquals(stored.modelSpec(), random.modelSpec());
    assertEquals(filled(stored), filled(random));
    assertEquals(stored.summary().numParameters(), random.summary().numParameters());
    for (WeightTransfer transfer : random.weights().getTransfersList()) {
      assertEquals(SourceKind.RANDOM_NORMAL, transfer.getSource().getKind());
      assertTrue(transfer.getSource().getRandomStd() > 0, transfer.getName());
    }
    assertEquals(0, random.weights().getFilesCount());
  }

  /** Values by layer, slot and head: writers may cut a slot in other ways. */
  private static Map<String, Long> filled(Checkpoint checkpoint) {
    Map<String, Long> values = new TreeMap<>();
    for (WeightTransfer transfer : checkpoint.weights().getTransfersList()) {
      WeightDestination to = transfer.getDestination();
      values.merge(
          to.getLayer() + "." + to.getSlot() + "." + to.getHead(),
          transfer.getSource().getShapeList().stream().reduce(1L, (a, b) -> a * b),
          Long::sum);
    }
    return values;
  }

  @Test
  void whatIsNoShape() {
    InvalidRequestException refused =
        assertThrows(InvalidRequestException.class, () -> Checkpoint.random("gpt-9"));
    assertEquals(
        "shape: gpt-9 (expected: deepseek-v2-lite, qwen3-30b-a3b, mixtral-8x7b, llama-3-8b,"
            + " deepseek-7b, adaptive, or a folder with config.json)",
        refused.getMessage());
    CheckpointFormatException tokenizer =
        assertThrows(
            CheckpointFormatException.class,
            () -> Checkpoint.random("adaptive").requireTokenizer());
    assertTrue(tokenizer.getMessage().contains("token ids"), tokenizer.getMessage());
  }
}

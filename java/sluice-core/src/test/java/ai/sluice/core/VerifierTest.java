package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.InvalidRequestException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Files of expected outputs that are not what they should be, and steps that hold few prompts. */
@Timeout(600)
class VerifierTest {
  @TempDir Path folder;

  private EngineOptions options() {
    return EngineOptions.builder().model(folder).dtype(ComputeDtype.FLOAT32).build();
  }

  private void replace(String name, TensorFile.Tensor tensor) {
    TensorFile file = TensorFile.read(TensorFile.copyFixture("llama", folder).resolve(
        Verifier.EXPECTED));
    assertTrue(file.tensors.containsKey(name), name);
    file.tensors.put(name, tensor);
    file.write(folder.resolve(Verifier.EXPECTED));
  }

  private static TensorFile.Tensor ids(long... values) {
    ByteBuffer data = ByteBuffer.allocate(8 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    for (long value : values) {
      data.putLong(value);
    }
    return new TensorFile.Tensor("I64", String.valueOf(values.length), data.array());
  }

  @ParameterizedTest
  @CsvSource({
    "input_ids_0, -1", "input_ids_1, 1000000", "input_ids_0, 9223372036854775807", "greedy_0, -7"
  })
  void tokensOutsideTheVocabularyAreRefusedByName(String name, long token) {
    replace(name, ids(1, 2, token));
    CheckpointFormatException e =
        assertThrows(CheckpointFormatException.class, () -> Verifier.verify(options()));
    assertTrue(e.getMessage().contains(name), e.getMessage());
    assertTrue(e.getMessage().contains("token 2 is " + token + " (expected: 0 to "),
        e.getMessage());
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 513})
  void promptsThatCannotRunAreRefusedByName(int length) {
    replace("input_ids_2", ids(new long[length]));
    CheckpointFormatException e =
        assertThrows(CheckpointFormatException.class, () -> Verifier.verify(options()));
    assertTrue(e.getMessage().contains("input_ids_2"), e.getMessage());
    assertTrue(e.getMessage().contains(length + " tokens (expected: 1 to 512"), e.getMessage());
  }

  /** Without expected choices bfloat16 says nothing of a model that chooses. */
  @Test
  void choicesThatAreNotExpectedAreNotReplayed() {
    TensorFile file =
        TensorFile.read(
            TensorFile.copyFixture("qwen3_moe", folder).resolve(Verifier.EXPECTED));
    assertTrue(file.tensors.remove("router_weight_0_1") != null);
    file.write(folder.resolve(Verifier.EXPECTED));
    EngineOptions narrow = options().toBuilder().dtype(ComputeDtype.BFLOAT16).build();
    VerificationReport report = Verifier.verify(narrow);
    assertEquals(0, report.checks().size(), report.toString());
    assertFalse(report.passed());
    assertEquals(
        3,
        report.notChecked().stream()
            .filter(text -> text.startsWith("logits64_") && text.contains("none to replay"))
            .count(),
        report.notChecked().toString());
  }

  /** A choice that is expected of no expert of the model is refused, not run. */
  @Test
  void choicesOutsideTheModelAreRefusedByName() {
    TensorFile file =
        TensorFile.read(
            TensorFile.copyFixture("qwen3_moe", folder).resolve(Verifier.EXPECTED));
    byte[] idx = file.tensors.get("router_idx_0_1").data();
    idx[0] = 8;
    file.write(folder.resolve(Verifier.EXPECTED));
    EngineOptions narrow = options().toBuilder().dtype(ComputeDtype.BFLOAT16).build();
    InvalidRequestException e =
        assertThrows(InvalidRequestException.class, () -> Verifier.verify(narrow));
    assertTrue(
        e.getMessage().contains("router_idx_1[0][0]: 8 (expected: 0 to 7)"), e.getMessage());
    VerificationReport exact = Verifier.verify(options());
    assertEquals(
        List.of(
            "router choices, whole prompt",
            "router choices, chunked prefill",
            "router choices, one token a step",
            "router choices, ragged batch"),
        exact.checks().stream()
            .filter(check -> check.tolerance() == 0 && !check.passed())
            .map(VerificationReport.Check::name)
            .toList(),
        exact.toString());
    assertTrue(
        exact.checks().stream().anyMatch(c -> c.detail().contains("layer 1 token 0")),
        exact.toString());
  }

  @ParameterizedTest
  @CsvSource({
    "qwen3_moe, router_idx_0_1, 8", "qwen3_moe, router_weight_0_0, 4",
    "adaptive_moe, router_kept_0_0, 1", "adaptive_moe, attention_keep_0_0, 1"
  })
  void decisionsOfAnotherShapeAreRefusedByName(String fixture, String name, int bytes) {
    TensorFile file =
        TensorFile.read(TensorFile.copyFixture(fixture, folder).resolve(Verifier.EXPECTED));
    TensorFile.Tensor whole = file.tensors.get(name);
    file.tensors.put(
        name,
        new TensorFile.Tensor(whole.dtype(), "2,1", Arrays.copyOf(whole.data(), 2 * bytes)));
    file.write(folder.resolve(Verifier.EXPECTED));
    for (ComputeDtype dtype : List.of(ComputeDtype.FLOAT32, ComputeDtype.BFLOAT16)) {
      if (dtype == ComputeDtype.BFLOAT16 && name.startsWith("router_kept")) {
        // Follows from the choices, so it is not replayed.
        continue;
      }
      EngineOptions options = options().toBuilder().dtype(dtype).build();
      CheckpointFormatException e =
          assertThrows(CheckpointFormatException.class, () -> Verifier.verify(options));
      assertTrue(e.getMessage().contains(name + ": shape: [2, 1] (expected: ["), e.getMessage());
    }
  }

  /** A router that is off shows in its layer, and the layer before agrees. */
  @Test
  void theFirstLayerThatIsOffIsNamed() {
    Path weights = TensorFile.copyFixture("qwen3_moe", folder).resolve("model.safetensors");
    TensorFile file = TensorFile.read(weights);
    byte[] router = file.tensors.get("model.layers.1.mlp.gate.weight").data();
    // The signs of the first expert's row, 64 floats.
    for (int at = 3; at < 4 * 64; at += 4) {
      router[at] ^= (byte) 0x80;
    }
    file.write(weights);
    VerificationReport report = Verifier.verify(options());
    assertFalse(report.passed());
    assertTrue(
        detail(report, "hidden states").contains("first layer that is off: 1 (error "),
        report.toString());
    assertTrue(
        detail(report, "router choices, whole prompt").contains("first difference: layer 1"),
        report.toString());
    assertTrue(
        detail(report, "router weights, ragged batch").contains("worst: layer 1"),
        report.toString());
  }

  private static String detail(VerificationReport report, String name) {
    VerificationReport.Check check =
        report.checks().stream().filter(c -> c.name().equals(name)).findFirst().orElseThrow();
    assertFalse(check.passed(), check.toString());
    return check.detail();
  }

  @Test
  void logitsOfAnotherShapeAreADifferenceAndNoCrash() {
    replace("logits64_0", new TensorFile.Tensor("F32", "1,2", new byte[8]));
    VerificationReport report = Verifier.verify(options());
    assertFalse(report.passed(), report.toString());
    report.checks().stream()
        .filter(check -> check.name().startsWith("logits"))
        .forEach(check -> assertTrue(Double.isNaN(check.error()), check.toString()));
  }

  /** Prompts of 17, 11 and 30 tokens: the third does not fit beside the others. */
  @Test
  void aBatchThatIsTooLongForAStepIsSplit() {
    VerificationReport report =
        Verifier.verify(
            Fixtures.options("llama").maxSequences(3).maxStepTokens(32).blockSize(16).build());
    assertTrue(report.passed(), report.toString());
    assertEquals(
        "3 compared",
        report.checks().stream()
            .filter(check -> check.name().equals("logits, ragged batch"))
            .map(check -> check.detail().substring(0, 10))
            .findFirst()
            .orElseThrow());
  }
}

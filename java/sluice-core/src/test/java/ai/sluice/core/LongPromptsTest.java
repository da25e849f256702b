package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineOptions;
import ai.sluice.checkpoint.Checkpoint;
import ai.sluice.core.VerificationReport.Check;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Files that expect the logits of some positions. */
@Timeout(600)
class LongPromptsTest {
  private static final List<String> MODES =
      List.of("whole prompt", "chunked prefill", "decode");

  @TempDir Path folder;

  /** The expectations of a fixture's first prompts, at some positions alone. */
  private TensorFile positions(String fixture, int numPrompts, int... fromTheEnd) {
    TensorFile file =
        TensorFile.read(TensorFile.copyFixture(fixture, folder).resolve(Verifier.EXPECTED));
    TensorFile some = new TensorFile();
    for (int i = 0; i < numPrompts; i++) {
      TensorFile.Tensor ids = file.tensors.get("input_ids_" + i);
      int length = ids.data().length / 8;
      long[] at =
          Arrays.stream(fromTheEnd)
              .mapToLong(back -> length - back)
              .filter(position -> position >= 0)
              .sorted()
              .toArray();
      some.tensors.put("input_ids_" + i, ids);
      some.tensors.put("positions_" + i, longs(at));
      some.tensors.put("logits64_" + i, rows(file.tensors.get("logits64_" + i), length, at));
    }
    file.tensors.forEach(
        (name, tensor) -> {
          if (name.matches("(router_idx|router_weight|attention_keep)_0_.*")) {
            some.tensors.put(name, tensor);
          }
        });
    return some;
  }

  private static TensorFile.Tensor longs(long... values) {
    ByteBuffer data = ByteBuffer.allocate(8 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    Arrays.stream(values).forEach(data::putLong);
    return new TensorFile.Tensor("I64", String.valueOf(values.length), data.array());
  }

  private static TensorFile.Tensor rows(TensorFile.Tensor all, int length, long[] at) {
    int row = all.data().length / length;
    ByteBuffer data = ByteBuffer.allocate(at.length * row);
    for (long position : at) {
      data.put(all.data(), (int) position * row, row);
    }
    return new TensorFile.Tensor("F32", at.length + "," + row / 4, data.array());
  }

  /** A reference whose values are off by a share. */
  private static TensorFile.Tensor off(TensorFile.Tensor exact, double share) {
    ByteBuffer from = ByteBuffer.wrap(exact.data()).order(ByteOrder.LITTLE_ENDIAN);
    ByteBuffer to = ByteBuffer.allocate(exact.data().length).order(ByteOrder.LITTLE_ENDIAN);
    while (from.hasRemaining()) {
      to.putFloat((float) (from.getFloat() * (1 + share)));
    }
    return new TensorFile.Tensor("F32", exact.shape(), to.array());
  }

  private VerificationReport verify(TensorFile expected, ComputeDtype dtype) {
    expected.write(folder.resolve(Verifier.EXPECTED));
    return Verifier.verify(EngineOptions.builder().model(folder).dtype(dtype).build());
  }

  private static Check check(VerificationReport report, String mode) {
    return report.checks().stream()
        .filter(c -> c.name().equals("logits, " + mode))
        .findFirst()
        .orElseThrow(() -> new AssertionError(report.toString()));
  }

  @ParameterizedTest
  @CsvSource({"llama, 3, 6", "deepseek_v2, 3, 7", "gpt_oss, 2, 7", "adaptive_moe, 3, 7"})
  void positionsAgreeInAllWays(String fixture, int numPrompts, int numChecks) {
    VerificationReport report =
        verify(positions(fixture, numPrompts, 1, 2, 7), ComputeDtype.FLOAT32);
    assertTrue(report.passed(), report.toString());
    assertEquals(numChecks, report.checks().size(), report.toString());
    for (Check check : report.checks()) {
      if (check.name().startsWith("logits")) {
        assertTrue(check.detail().startsWith(numPrompts + " compared"), check.toString());
        assertTrue(check.error() > 0, check.toString());
      } else if (check.name().startsWith("greedy tokens as traced")) {
        assertTrue(
            check.detail().startsWith(8 * numPrompts + " tokens compared, 0 prompts went on"),
            check.toString());
      } else {
        assertEquals("router choices", check.name());
        assertEquals(0, check.error(), check.toString());
        assertTrue(check.detail().startsWith("0 of "), check.toString());
      }
    }
    for (String mode : MODES) {
      assertTrue(
          report.kernels().stream()
              .anyMatch(k -> k.mode().equals(mode) && k.op().contains("attention")
                  && !k.variant().isEmpty()),
          report.kernels().toString());
    }
  }

  /** With the expected choices bfloat16 is held against the reference's error, prompt by prompt. */
  @ParameterizedTest
  @CsvSource({"qwen3_moe", "deepseek_v3", "adaptive_moe", "adaptive_moe_sparse"})
  void bfloat16IsHeldAgainstTheReferences(String fixture) {
    TensorFile file = positions(fixture, 1, 1, 2, 3, 5, 8);
    TensorFile.Tensor exact = file.tensors.get("logits64_0");
    file.tensors.put("logits_bfloat16_0", off(exact, 0.05));
    VerificationReport wide = verify(file, ComputeDtype.BFLOAT16);
    assertTrue(wide.passed(), wide.toString());
    assertTrue(wide.notChecked().isEmpty(), wide.notChecked().toString());
    for (Check check : logits(wide)) {
      assertEquals(0.075, check.tolerance(), 1e-4, check.toString());
      assertTrue(check.detail().contains(" of the reference's error"), check.toString());
    }
    file.tensors.put("logits_bfloat16_0", off(exact, 1e-4));
    VerificationReport narrow = verify(file, ComputeDtype.BFLOAT16);
    assertEquals(
        MODES.size(), logits(narrow).stream().filter(c -> !c.passed()).count(), narrow.toString());
  }

  private static List<Check> logits(VerificationReport report) {
    return report.checks().stream().filter(c -> c.name().startsWith("logits")).toList();
  }

  /** What the engine's own steps choose is compared with traced ones, token by token. */
  @Test
  void tokensThatAreNotAsTracedAreADefect() {
    TensorFile.copyFixture("llama", folder);
    EngineOptions options =
        EngineOptions.builder().model(folder).dtype(ComputeDtype.FLOAT32).maxContextLength(64)
            .maxSequences(2).build();
    List<int[]> prompts = List.of(new int[] {5, 9, 2}, new int[] {7});
    TracedGreedy other = new TracedGreedy(List.of(new int[] {5, 9, 3}, new int[] {7}), 1e-2);
    LoadedModel model =
        LoadedModel.load(Checkpoint.open(folder), options, OptionResolver.systemInfo());
    StepDriver driver = new StepDriver(model);
    TracedGreedy same = new TracedGreedy(prompts, 1e-2);
    same.trace(driver);
    other.trace(driver);
    try (Engine engine = new Engine(model, options, null, driver.lastStepId())) {
      assertTrue(same.compare(engine).stream().allMatch(Check::passed));
      for (Check check : other.compare(engine, prompts)) {
        assertFalse(check.passed(), check.toString());
        assertTrue(check.detail().contains("first difference: prompt 0 "), check.toString());
        assertTrue(check.detail().contains(" standard deviations)"), check.toString());
      }
    }
  }

  /** Decode shows the last tokens alone; what is wrong before them is no concern of it. */
  @Test
  void eachWayComparesWhatItComputed() {
    TensorFile file = positions("llama", 1, 1, 12);
    TensorFile.Tensor exact = file.tensors.get("logits64_0");
    byte[] wrong = exact.data().clone();
    wrong[3] ^= (byte) 0x80;
    file.tensors.put("logits64_0", new TensorFile.Tensor("F32", exact.shape(), wrong));
    VerificationReport report = verify(file, ComputeDtype.FLOAT32);
    assertFalse(check(report, "whole prompt").passed(), report.toString());
    assertFalse(check(report, "chunked prefill").passed(), report.toString());
    assertTrue(check(report, "decode").passed(), report.toString());
  }

  @Test
  void otherExpertsThanExpectedAreCountedAndTakenOver() {
    TensorFile file = positions("qwen3_moe", 1, 1);
    byte[] idx = file.tensors.get("router_idx_0_1").data();
    for (int value = 0; value < idx.length / 8; value++) {
      idx[8 * value] = (byte) ((idx[8 * value] + 1) % 8);
    }
    VerificationReport report = verify(file, ComputeDtype.FLOAT32);
    Check choices =
        report.checks().stream()
            .filter(c -> c.name().equals("router choices"))
            .findFirst()
            .orElseThrow();
    assertFalse(choices.passed());
    assertTrue(choices.error() > 0.3 && choices.error() <= 0.5, choices.toString());
    assertTrue(logits(report).stream().noneMatch(Check::passed), report.toString());
  }

  /** In bfloat16 the measure is how many tokens get other experts from the reference. */
  @Test
  void theReferencesOwnChoicesAreTheMeasureInBfloat16() {
    TensorFile file = positions("qwen3_moe", 1, 1);
    for (int layer = 0; layer < 2; layer++) {
      TensorFile.Tensor exact = file.tensors.get("router_idx_0_" + layer);
      byte[] other = exact.data().clone();
      for (int token = 0; token < other.length / 24; token++) {
        // Another expert in the place of the last of three.
        for (byte expert = 0; expert < 8; expert++) {
          if (expert != other[24 * token] && expert != other[24 * token + 8]
              && expert != other[24 * token + 16]) {
            other[24 * token + 16] = expert;
            break;
          }
        }
      }
      file.tensors.put(
          "router_idx_bfloat16_0_" + layer, new TensorFile.Tensor("I64", exact.shape(), other));
    }
    VerificationReport report = verify(file, ComputeDtype.BFLOAT16);
    Check choices =
        report.checks().stream()
            .filter(c -> c.name().equals("router choices"))
            .findFirst()
            .orElseThrow(() -> new AssertionError(report.toString()));
    assertTrue(choices.passed(), choices.toString());
    assertEquals(1.5, choices.tolerance(), 1e-9, choices.toString());
    assertTrue(choices.detail().endsWith("of the reference's 24"), choices.toString());
  }

  @Test
  void aTokenThatIsNotAsExpectedFailsInDecodeToo() {
    TensorFile file = positions("llama", 2, 1);
    TensorFile.Tensor exact = file.tensors.get("logits64_1");
    file.tensors.put("logits64_1", off(exact, 1e-3));
    VerificationReport report = verify(file, ComputeDtype.FLOAT32);
    assertEquals(0, logits(report).stream().filter(Check::passed).count(), report.toString());
    assertTrue(check(report, "decode, 2 together").detail().contains("worst: prompt 1"));
  }

  @ParameterizedTest
  @CsvSource({"'0,17', position 1 is 17 (expected: 1 to 16", "'3,3', position 1 is 3 (expected: 4",
      "'-1', position 0 is -1 (expected: 0", "'', 0 positions (expected: at least one)"})
  void wrongPositionsAreRefusedByName(String values, String text) {
    TensorFile file = positions("llama", 1, 1);
    file.tensors.put(
        "positions_0",
        longs(
            values.isEmpty()
                ? new long[0]
                : Arrays.stream(values.split(",")).mapToLong(Long::parseLong).toArray()));
    CheckpointFormatException e =
        assertThrows(
            CheckpointFormatException.class, () -> verify(file, ComputeDtype.FLOAT32));
    assertTrue(e.getMessage().contains("positions_0: " + text), e.getMessage());
  }

  @Test
  void choicesThatAreNotThereAreNamed() {
    TensorFile file = positions("qwen3_moe", 2, 1);
    CheckpointFormatException e =
        assertThrows(
            CheckpointFormatException.class, () -> verify(file, ComputeDtype.BFLOAT16));
    assertTrue(e.getMessage().contains("router_idx_1_0"), e.getMessage());
    assertTrue(
        IntStream.range(0, 2).allMatch(l -> file.tensors.containsKey("router_idx_0_" + l)));
  }
}

package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ComputeDtype;
import ai.sluice.api.Numerics;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The dense fixtures through the whole engine, at the tolerances of the fixtures' README. */
class ParityTest {
  private static final List<String> CHECKS =
      List.of(
          "logits, whole prompt",
          "hidden states",
          "final norm",
          "logits, chunked prefill",
          "logits, one token a step",
          "logits, ragged batch",
          "greedy tokens, alone",
          "greedy tokens, batched");

  @ParameterizedTest
  @CsvSource({
    "llama, FAST", "llama3_rope, FAST", "mistral, FAST", "qwen2, FAST",
    "llama, BATCH_INVARIANT", "mistral, BATCH_INVARIANT"
  })
  void float32(String fixture, Numerics numerics) {
    VerificationReport report =
        Verifier.verify(Fixtures.options(fixture).numerics(numerics).build());
    System.out.println(fixture + " " + numerics + ": " + describe(report));
    assertTrue(report.passed(), report.toString());
    assertEquals(CHECKS, report.checks().stream().map(VerificationReport.Check::name).toList());
    assertTrue(report.notChecked().isEmpty(), report.notChecked().toString());
  }

  @Test
  void bfloat16() {
    VerificationReport report =
        Verifier.verify(Fixtures.options("llama3_rope").dtype(ComputeDtype.BFLOAT16).build());
    System.out.println("llama3_rope bfloat16: " + describe(report));
    assertTrue(report.passed(), report.toString());
    assertTrue(
        report.notChecked().contains("greedy_0: compared in float32 only"),
        report.notChecked().toString());
  }

  @ParameterizedTest
  @ValueSource(ints = {8, 64})
  void anyBlockSize(int blockSize) {
    VerificationReport report =
        Verifier.verify(Fixtures.options("mistral").blockSize(blockSize).build());
    assertTrue(report.passed(), report.toString());
  }

  @Test
  void aWrongModelFails() {
    // The tolerance means something: the bfloat16 error is far beyond the float32 one.
    VerificationReport report =
        Verifier.verify(Fixtures.options("llama").dtype(ComputeDtype.BFLOAT16).build());
    assertTrue(
        report.checks().get(0).error() > 10 * Verifier.FLOAT32_TOLERANCE, report.toString());
  }

  private static String describe(VerificationReport report) {
    StringBuilder text = new StringBuilder();
    for (VerificationReport.Check check : report.checks()) {
      text.append(String.format("%s %.2e; ", check.name(), check.error()));
    }
    return text.toString();
  }
}

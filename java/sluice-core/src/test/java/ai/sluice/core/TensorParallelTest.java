package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.EngineOptions;
import ai.sluice.api.MemoryPlan;
import ai.sluice.api.UnsupportedModelException;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Several ranks share a model: every fixture whose heads divide, and what is refused. */
@Timeout(600)
class TensorParallelTest {
  private static EngineOptions options(String fixture, int size) {
    return Fixtures.options(fixture).tensorParallelSize(size).build();
  }

  static Stream<Arguments> everyFixture() {
    return Fixtures.all().stream()
        .flatMap(
            name ->
                // Six heads are no multiple of four.
                (name.equals("llama3_rope") ? Stream.of(2) : Stream.of(2, 4))
                    .map(size -> Arguments.of(name, size)));
  }

  /** The same checks as one rank passes, logits and greedy tokens among them, all at its bounds. */
  @ParameterizedTest
  @MethodSource
  void everyFixture(String fixture, int size) {
    VerificationReport report = Verifier.verify(options(fixture, size));
    System.out.println(fixture + " on " + size + " ranks: " + ParityTest.describe(report));
    assertTrue(report.passed(), report.toString());
    List<String> names = report.checks().stream().map(VerificationReport.Check::name).toList();
    assertTrue(names.contains("logits, whole prompt"), names.toString());
    assertTrue(names.contains("greedy tokens, batched"), names.toString());
    assertTrue(report.notChecked().isEmpty(), report.notChecked().toString());
  }

  @Test
  void headsThatDoNotDivideAreRefusedByName() {
    UnsupportedModelException e =
        assertThrows(
            UnsupportedModelException.class, () -> Engine.open(options("llama3_rope", 4)));
    assertTrue(
        e.getMessage()
            .contains(
                "layers[0].gqa.num_q_heads: 6 (expected: a multiple of tensor_parallel_size 4)"),
        e.getMessage());
  }

  /** Two KV heads: two ranks hold one each, four ranks hold each of them twice. */
  @ParameterizedTest
  @ValueSource(ints = {2, 4})
  void thePlanCountsAllRanks(int size) {
    EngineOptions.Builder base = Fixtures.options("llama").maxContextLength(64).maxSequences(2);
    MemoryPlan one = Engine.planMemory(base.build());
    MemoryPlan all = Engine.planMemory(base.tensorParallelSize(size).build());
    assertEquals(size / 2 * one.kvBytesPerToken(), all.kvBytesPerToken());
    assertEquals(size / 2 * one.kvCacheBytes(), all.kvCacheBytes());
    assertTrue(all.weightBytes() > one.weightBytes(), all.toString());
    assertTrue(all.workspaceBytes() > one.workspaceBytes(), all.toString());
    try (Engine engine = Engine.open(base.tensorParallelSize(size).build())) {
      assertEquals(all.kvCacheBytes(), engine.modelInfo().kvCacheBytes());
      assertEquals(all.weightBytes(), engine.modelInfo().weightBytes());
    }
  }
}

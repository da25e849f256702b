package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import ai.sluice.api.EngineFailedException;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class TeardownTest {
  private final List<String> ran = new ArrayList<>();

  private Runnable step(String name) {
    return () -> ran.add(name);
  }

  private Runnable step(String name, Throwable thrown) {
    return () -> {
      ran.add(name);
      if (thrown instanceof Error error) {
        throw error;
      }
      throw (RuntimeException) thrown;
    };
  }

  @Test
  void everyStepRunsAndTheFirstFailureIsThrown() {
    EngineFailedException first = new EngineFailedException("abort");
    Error second = new OutOfMemoryError("loop");
    EngineFailedException thrown =
        assertThrows(
            EngineFailedException.class,
            () ->
                Teardown.run(
                    step("stop", first), step("join", second), step("model", first),
                    step("tokenizer")));
    assertSame(first, thrown);
    assertEquals(List.of(second), List.of(thrown.getSuppressed()));
    assertEquals(List.of("stop", "join", "model", "tokenizer"), ran);
  }

  @Test
  void errorsAreThrownAsTheyAre() {
    Error error = new OutOfMemoryError("stop");
    assertSame(
        error,
        assertThrows(
            OutOfMemoryError.class, () -> Teardown.run(step("stop", error), step("model"))));
    assertEquals(List.of("stop", "model"), ran);
  }

  @Test
  void withoutFailuresNothingIsThrown() {
    Teardown.run(step("a"), step("b"));
    assertEquals(List.of("a", "b"), ran);
  }
}

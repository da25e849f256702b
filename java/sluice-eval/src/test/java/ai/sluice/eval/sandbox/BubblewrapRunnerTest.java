package ai.sluice.eval.sandbox;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.eval.sandbox.Verdict.Outcome;
import org.junit.jupiter.api.Test;

class BubblewrapRunnerTest {
  @Test
  void aRightProgramPassesAndAWrongOneDoesNot() {
    try (BubblewrapRunner runner = BubblewrapRunner.open()) {
      assertTrue(runner.run("assert 1 + 1 == 2").passed());
      assertEquals("AssertionError: three", runner.run("assert 1 + 1 == 3, 'three'").detail());
      assertEquals(Outcome.FAILED, runner.run("import os\nos._exit(0)").outcome());
      assertTrue(runner.pythonVersion().startsWith("3."), runner.pythonVersion());
    }
  }
}

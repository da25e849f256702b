package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class ParityCheckTest {
  @Test
  void theModelIsOneThatTheEngineTakesAndItsNumbersDiffer() throws Exception {
    // No GPU here: the same model on the CPU twice.
    double[] once = ParityCheck.scores(ai.sluice.api.Backend.CPU, ai.sluice.api.Backend.CPU, null);
    assertEquals(0, once[0]);
    assertTrue(once[1] > 1, "log-probabilities spread over " + once[1]);
  }

  @Test
  void whatIsNoNumberDoesNotAgree() {
    double[] two = {-1, -2};
    assertEquals(0.5, ParityCheck.compare(two, new double[] {-1, -2.5}));
    assertEquals(Double.NaN, ParityCheck.compare(two, new double[] {Double.NaN, -2}));
    assertEquals(Double.NaN, ParityCheck.compare(two, new double[] {-1}));
    assertEquals(Double.NaN, ParityCheck.compare(new double[0], new double[0]));
  }
}

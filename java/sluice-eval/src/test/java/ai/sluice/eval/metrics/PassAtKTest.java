package ai.sluice.eval.metrics;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class PassAtKTest {
  /** {@code 1 - C(n - c, k) / C(n, k)} by Python's fractions. */
  @Test
  void estimates() {
    assertEquals(0.1433074463225217, PassAtK.estimate(200, 3, 10), 1e-12);
    assertEquals(0.7649283965930664, PassAtK.estimate(64, 10, 8), 1e-12);
    assertEquals(0.1, PassAtK.estimate(10, 1, 1), 1e-12);
    assertEquals(0.001, PassAtK.estimate(1000, 1, 1), 1e-12);
    assertEquals(0.5, PassAtK.estimate(64, 1, 32), 1e-12);
  }

  @Test
  void ends() {
    assertEquals(0, PassAtK.estimate(64, 0, 64));
    assertEquals(1, PassAtK.estimate(64, 64, 1));
    assertEquals(1, PassAtK.estimate(20, 17, 4), "every four of 20 hold one of 17");
    assertEquals(1, PassAtK.estimate(100, 1, 100));
    assertEquals(0, PassAtK.estimate(1, 0, 1));
    assertEquals(1e-9, PassAtK.estimate(Integer.MAX_VALUE, 2, 1), 1e-10);
  }

  @Test
  void refused() {
    refused("samples: 0 (expected: at least 1)", 0, 0, 1);
    refused("passed: -1 (expected: 0 to 5)", 5, -1, 1);
    refused("passed: 6 (expected: 0 to 5)", 5, 6, 1);
    refused("k: 0 (expected: 1 to 5)", 5, 2, 0);
    refused("k: 6 (expected: 1 to 5)", 5, 5, 6);
  }

  private static void refused(String message, int samples, int passed, int k) {
    assertEquals(
        message,
        assertThrows(
                IllegalArgumentException.class, () -> PassAtK.estimate(samples, passed, k))
            .getMessage());
  }
}

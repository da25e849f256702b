package ai.sluice.eval.metrics;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class McNemarTest {
  /** {@code min(1, 2 * sum(C(n, i), i = 0..min(b, c)) / 2^n)} by Python's fractions. */
  @Test
  void exactValues() {
    check(1, 0, 0);
    check(1, 0, 1);
    check(1, 6, 5);
    check(1, 5, 5);
    check(0.03125, 0, 6);
    check(0.1459960937500, 3, 9);
    check(0.831811904907226562500, 10, 12);
    check(4.43444926375517638667e-06, 121, 59);
    check(3.58526157193852449344e-13, 700, 1000);
    check(6.59351559867244168666e-05, 4800, 5200);
  }

  private static void check(double expected, int first, int second) {
    assertEquals(expected, McNemar.exactP(first, second), 1e-13 * expected);
    assertEquals(McNemar.exactP(first, second), McNemar.exactP(second, first));
  }

  @Test
  void theSmallestDoubles() {
    assertEquals(2 * Double.MIN_VALUE, McNemar.exactP(0, 1074));
    assertEquals(0, McNemar.exactP(1, 1100));
    assertEquals(0, McNemar.exactP(0, Integer.MAX_VALUE));
  }

  /**
   * Two million flips, by Python's decimal with 60 digits: Stirling's series for the largest term,
   * then the sum as above.
   */
  @Test
  void bigCounts() {
    double expected = 4.56093146777753824517e-02;
    assertEquals(expected, McNemar.exactP(998_586, 1_001_414), 1e-10 * expected);
    assertEquals(1, McNemar.exactP(Integer.MAX_VALUE, Integer.MAX_VALUE));
  }

  @Test
  void refused() {
    assertEquals(
        "onlyFirst: -1 (expected: at least 0)",
        assertThrows(IllegalArgumentException.class, () -> McNemar.exactP(-1, 3)).getMessage());
    assertEquals(
        "onlySecond: -2 (expected: at least 0)",
        assertThrows(IllegalArgumentException.class, () -> McNemar.exactP(1, -2)).getMessage());
  }
}

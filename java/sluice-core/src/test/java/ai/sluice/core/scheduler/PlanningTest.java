package ai.sluice.core.scheduler;

import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What planning and applying a step costs besides time. */
@Timeout(120)
class PlanningTest {
  /**
   * The lists of tokens grow between 4,080 and 8,176 and between 8,176 and 16,368 positions; the
   * steps that count lie between.
   */
  @Test
  void decodingAllocatesNothing() {
    DecodingLoad load = new DecodingLoad(16_000, false);
    for (int i = 0; i < 8_400; i++) {
      load.answer(i);
      load.step();
    }
    long before = Allocation.bytes();
    for (int i = 0; i < 7_000; i++) {
      load.answer(i);
      load.step();
    }
    long allocated = Allocation.bytes() - before;
    load.check();
    // Of 448,000 tokens.
    assertTrue(allocated < 20_000, allocated + " bytes in 7,000 steps of 64 rows");
  }
}

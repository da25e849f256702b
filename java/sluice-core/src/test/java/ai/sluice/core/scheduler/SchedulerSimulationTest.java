package ai.sluice.core.scheduler;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * {@link Simulation} over many seeds. Properties: {@code sluice.sim.seeds} and {@code
 * sluice.sim.steps} say how many and how long, {@code sluice.sim.seed} runs one seed alone.
 */
@Timeout(1200)
class SchedulerSimulationTest {
  private static final int SEEDS = Integer.getInteger("sluice.sim.seeds", 200);
  private static final int STEPS = Integer.getInteger("sluice.sim.steps", 20_000);

  @Test
  void everySequenceGetsTheTokensItWouldGetAlone() {
    Long one = Long.getLong("sluice.sim.seed");
    LongStream seeds = one == null ? LongStream.range(0, SEEDS) : LongStream.of(one);
    long begin = System.nanoTime();
    Tally met =
        seeds.parallel().mapToObj(SchedulerSimulationTest::run).collect(
            Tally::new, Tally::add, Tally::add);
    System.out.printf(
        "simulation, %.1f s: %s%n", (System.nanoTime() - begin) * 1e-9, met);
    long thousands = met.steps / 1000;
    if (one != null || thousands < 100) {
      return;
    }
    // The simulation must have met what it is about.
    assertTrue(met.ended > thousands * 30, "ended: " + met.ended);
    assertTrue(met.cancelled > thousands * 5, "cancelled: " + met.cancelled);
    assertTrue(met.timedOut > thousands, "timed out: " + met.timedOut);
    assertTrue(met.notFinite > thousands / 2, "not finite: " + met.notFinite);
    assertTrue(met.broken > thousands, "broke down: " + met.broken);
    assertTrue(met.failed > thousands / 10, "failed with the engine: " + met.failed);
    assertTrue(met.hits > thousands * 15, "prefix hits: " + met.hits);
    assertTrue(met.evictions > thousands * 15, "evictions: " + met.evictions);
    assertTrue(met.copies > thousands * 5, "copies: " + met.copies);
    assertTrue(met.preemptions > thousands * 5, "preemptions: " + met.preemptions);
    assertTrue(met.pinned > thousands, "preempted three times: " + met.pinned);
    assertTrue(met.maskedRows > thousands * 40, "masked rows: " + met.maskedRows);
    assertTrue(met.acceptedDrafts > thousands * 10, "accepted drafts: " + met.acceptedDrafts);
    assertTrue(met.rejectedDrafts > thousands * 5, "rejected drafts: " + met.rejectedDrafts);
    assertTrue(met.forked > thousands * 5, "forks: " + met.forked);
    assertTrue(met.scores > thousands * 50, "scores: " + met.scores);
  }

  private static Tally run(long seed) {
    Simulation simulation = new Simulation(seed);
    try {
      simulation.run(STEPS);
    } catch (Throwable e) {
      throw new AssertionError(
          "seed " + seed + ", depth " + simulation.depth + " (again: -Dsluice.sim.seed=" + seed
              + ")",
          e);
    }
    simulation.tally.add(simulation.counters);
    return simulation.tally;
  }

  @Test
  void aSeedReproducesARun() {
    long[] sums = new long[3];
    for (int i = 0; i < sums.length; i++) {
      Simulation simulation = new Simulation(7 + i / 2);
      simulation.run(400);
      sums[i] = simulation.tally.sum;
    }
    assertEquals(sums[0], sums[1]);
    assertNotEquals(sums[0], sums[2]);
  }
}

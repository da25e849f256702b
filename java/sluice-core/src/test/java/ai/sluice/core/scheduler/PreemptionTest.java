package ai.sluice.core.scheduler;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.FinishReason;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.junit.jupiter.api.Test;

/** Who gives up blocks when they run out, with blocks of 8 tokens. */
class PreemptionTest {
  private static final SamplingParams PENALTIES =
      new SamplingParams(0.7f, 0, 1, 0, 1.5f, 0.5f, 0, new int[0], new float[0]);

  private static final class Bench {
    final SchedulerLimits limits;
    final FakeEngine engine;
    final SchedulerCounters counters = new SchedulerCounters();
    final Scheduler scheduler;
    final StepPlan[] plans;
    final List<Sequence> sequences = new ArrayList<>();
    final List<RecordingSink> sinks = new ArrayList<>();
    final boolean cached;
    private int inFlight;
    private int next;

    Bench(int blocks, int depth, boolean cached) {
      this.cached = cached;
      limits = new SchedulerLimits(4, 32, 8, new int[] {blocks});
      engine = new FakeEngine(depth, 1, 0, limits, 96, 2, 32, 7, 8);
      scheduler = new Scheduler(limits, counters, 0);
      plans = new StepPlan[depth];
      Arrays.setAll(plans, i -> new StepPlan(4));
    }

    Sequence add(int promptLength, int maxNew, int priority) {
      int[] prompt = new int[promptLength];
      Arrays.setAll(prompt, i -> 1 + (i * 5 + sequences.size()) % 49);
      RecordingSink sink = new RecordingSink();
      Sequence sequence =
          new Sequence(prompt, maxNew, HeadChoice.tokens(0), PENALTIES, 7 + sequences.size(),
              Sequence.NO_LOGPROBS, new int[0], List.of(), 0, Sequence.NO_DEADLINE, sink);
      sequence.prioritize(priority);
      if (cached) {
        sequence.cachePrefix("", 8);
      }
      sequences.add(sequence);
      sinks.add(sink);
      scheduler.add(sequence);
      return sequence;
    }

    void turn() {
      while (inFlight < plans.length && scheduler.plan(plans[next], engine.message(next), 1)) {
        engine.submit(next);
        next = (next + 1) % plans.length;
        inFlight++;
      }
      assertTrue(inFlight > 0, "work exists, but no step");
      int oldest = Math.floorMod(next - inFlight--, plans.length);
      engine.await(oldest, 0);
      scheduler.apply(plans[oldest], engine.outputOf(oldest), 1);
    }

    void drain() {
      while (!scheduler.isIdle() || inFlight > 0) {
        turn();
      }
    }
  }

  /** Four sequences that start well within the pool, and need twice as much to end. */
  private static List<List<Integer>> four(Bench bench) {
    for (int i = 0; i < 4; i++) {
      bench.add(10, 54, 0);
    }
    bench.drain();
    List<List<Integer>> tokens = new ArrayList<>();
    for (RecordingSink sink : bench.sinks) {
      assertEquals(FinishReason.LENGTH, sink.reason);
      assertEquals(1, sink.admissions);
      tokens.add(sink.tokens);
    }
    return tokens;
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void thePreemptedGiveTheTokensThatTheyWouldHaveGiven(boolean cached) {
    List<List<Integer>> plenty = four(new Bench(64, 1, cached));
    for (int depth = 1; depth <= 2; depth++) {
      Bench tight = new Bench(16, depth, cached);
      assertEquals(plenty, four(tight));
      assertTrue(tight.counters.preemptions.get() > 0);
      assertEquals(0, tight.sequences.get(0).numPreemptions);
      for (Sequence sequence : tight.sequences) {
        assertTrue(sequence.numPreemptions <= 3);
      }
      assertEquals(0, tight.scheduler.pool(0).used());
      assertEquals(0, tight.scheduler.pool(0).promised());
    }
  }

  @Test
  void theLastThatCameIsPreemptedFirst() {
    Bench bench = new Bench(16, 1, true);
    for (int i = 0; i < 4; i++) {
      bench.add(10, 54, 0);
    }
    while (bench.counters.preemptions.get() == 0) {
      bench.turn();
    }
    assertEquals(1, bench.sequences.get(3).numPreemptions);
    assertEquals(Sequence.State.WAITING, bench.sequences.get(3).state);
    int known = bench.sequences.get(3).numKnown;
    assertTrue(known > 10);
    while (bench.sequences.get(3).state == Sequence.State.WAITING) {
      bench.turn();
    }
    assertEquals(known, bench.sequences.get(3).numRestored);
    bench.drain();
  }

  @Test
  void whoWasPreemptedThreeTimesComesBackWithAllItCanNeed() {
    Bench bench = new Bench(16, 1, false);
    Sequence unlucky = bench.add(10, 54, 0);
    unlucky.numPreemptions = 3;
    bench.turn();
    assertEquals(8, unlucky.numPromised);
    // Who comes later has nothing to take from it, and goes back itself.
    Sequence first = bench.add(10, 54, 1);
    Sequence last = bench.add(10, 54, 0);
    bench.drain();
    assertEquals(3, unlucky.numPreemptions);
    assertEquals(0, first.numPreemptions);
    assertTrue(last.numPreemptions >= 1);
  }

  @Test
  void aPreemptedSequenceCanBeCancelledWhileItWaits() {
    Bench bench = new Bench(16, 1, true);
    for (int i = 0; i < 4; i++) {
      bench.add(10, 54, 0);
    }
    while (bench.counters.preemptions.get() == 0) {
      bench.turn();
    }
    Sequence waiting = bench.sequences.get(3);
    bench.scheduler.finish(waiting, FinishReason.CANCELLED, "", 1);
    bench.scheduler.finish(waiting, FinishReason.CANCELLED, "", 1);
    assertEquals(FinishReason.CANCELLED, bench.sinks.get(3).reason);
    bench.drain();
    assertEquals(1, bench.counters.finished(FinishReason.CANCELLED).get());
    assertEquals(0, bench.scheduler.pool(0).used());
  }

  @Test
  void theHigherPriorityGoesFirstAndEqualOnesAsTheyCame() {
    Bench bench = new Bench(64, 1, false);
    int[] priorities = {0, 0, 0, 0, 0, Integer.MAX_VALUE, 0, Integer.MIN_VALUE, 3, 3};
    for (int i = 0; i < 4; i++) {
      bench.add(4, 20, priorities[i]);
    }
    bench.turn();
    for (int i = 4; i < priorities.length; i++) {
      bench.add(4, 3, priorities[i]);
    }
    List<Integer> order = new ArrayList<>();
    while (!bench.scheduler.isIdle()) {
      bench.turn();
      bench.sequences.stream()
          .filter(s -> s.started != SequenceTimes.NEVER)
          .sorted(Sequence::compare)
          .map(bench.sequences::indexOf)
          .filter(i -> i >= 4 && !order.contains(i))
          .forEach(order::add);
    }
    assertEquals(List.of(5, 8, 9, 4, 6, 7), order);
    assertFalse(bench.counters.preemptions.get() > 0);
  }
}

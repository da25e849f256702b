package ai.sluice.core.scheduler;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

class ExpertCountsTest {
  private final SchedulerLimits limits = new SchedulerLimits(2, 8, 8, new int[] {6});
  private final FakeEngine engine = new FakeEngine(1, 1, 0, limits, 48, 2, 8, 8, 8);
  private final ExpertCounts counts =
      new ExpertCounts(FakeEngine.LAYERS, FakeEngine.EXPERTS);
  private final Scheduler scheduler = new Scheduler(limits, new SchedulerCounters(counts), 0);
  private final StepMessage message = engine.message(0);
  private final StepOutput output = engine.outputOf(0);
  private final StepPlan plan = new StepPlan(2);

  private boolean step() {
    if (!scheduler.plan(plan, message, 1)) {
      return false;
    }
    engine.submit(0);
    engine.await(0, 0);
    scheduler.apply(plan, output, 1);
    return true;
  }

  private void add(RecordingSink sink, int maxNew, int... prompt) {
    scheduler.add(
        new Sequence(prompt, maxNew, HeadChoice.tokens(0), SamplingParams.GREEDY, 1,
            Sequence.NO_LOGPROBS, new int[0], List.of(), 0, Sequence.NO_DEADLINE, sink));
  }

  @Test
  void everyComputedTokenIsCountedOnce() {
    RecordingSink first = new RecordingSink();
    RecordingSink second = new RecordingSink();
    int[] longPrompt = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    add(first, 4, longPrompt);
    add(second, 3, 21, 22);
    int steps = 0;
    while (step()) {
      steps++;
    }
    long[][] expected = new long[FakeEngine.LAYERS][FakeEngine.EXPERTS];
    count(longPrompt, first.tokens, expected);
    count(new int[] {21, 22}, second.tokens, expected);
    ExpertCounts.Snapshot snapshot = counts.snapshot();
    assertEquals(steps, snapshot.steps());
    for (int layer = 0; layer < FakeEngine.LAYERS; layer++) {
      assertArrayEquals(expected[layer], snapshot.tokens(layer, FakeEngine.EXPERTS));
    }
    assertArrayEquals(new long[FakeEngine.EXPERTS], expected[1], "a layer without experts");
    // The last step computed one token alone: the last but one of the first sequence.
    int last = first.tokens.get(first.tokens.size() - 2);
    long[] one = new long[FakeEngine.EXPERTS];
    one[FakeEngine.expert(last, 2)] = 1;
    assertArrayEquals(one, snapshot.lastStepTokens(2, FakeEngine.EXPERTS));
  }

  /** The last token of a sequence is never computed. */
  private static void count(int[] prompt, List<Integer> tokens, long[][] expected) {
    int[] all = new int[prompt.length + tokens.size() - 1];
    System.arraycopy(prompt, 0, all, 0, prompt.length);
    for (int i = 0; i + 1 < tokens.size(); i++) {
      all[prompt.length + i] = tokens.get(i);
    }
    for (int token : all) {
      for (int layer = 0; layer < FakeEngine.LAYERS; layer++) {
        if (FakeEngine.expert(token, layer) >= 0) {
          expected[layer][FakeEngine.expert(token, layer)]++;
        }
      }
    }
  }

  @Test
  void addingAllocatesNothing() {
    add(new RecordingSink(), 2, 1, 2, 3);
    assertTrue(step());
    for (int i = 0; i < 10_000; i++) {
      counts.add(output);
    }
    long before = Allocation.bytes();
    for (int i = 0; i < 10_000; i++) {
      counts.add(output);
    }
    long allocated = Allocation.bytes() - before;
    assertTrue(allocated < 10_000, allocated + " bytes for 10000 steps");
  }

  @Test
  void anEngineThatReportsNoneIsNotRead() {
    assertFalse(ExpertCounts.none().reported());
    assertTrue(counts.reported());
    ExpertCounts none = ExpertCounts.none();
    add(new RecordingSink(), 1, 1, 2);
    assertTrue(step());
    none.add(output);
    assertEquals(0, none.snapshot().steps());
  }
}

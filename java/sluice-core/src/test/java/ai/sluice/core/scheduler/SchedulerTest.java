package ai.sluice.core.scheduler;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.FinishReason;
import java.util.List;
import org.junit.jupiter.api.Test;

class SchedulerTest {
  private static final HeadChoice HEAD = HeadChoice.tokens(0);

  private final SchedulerLimits limits = new SchedulerLimits(2, 8, 8, new int[] {6});
  private final FakeEngine engine = new FakeEngine(2, 1, 0, limits, 48, 2, 8, 8, 8);
  private final SchedulerCounters counters = new SchedulerCounters();
  private final Scheduler scheduler = new Scheduler(limits, counters, 0);
  private final StepMessage message = engine.message(0);
  private final StepOutput output = engine.outputOf(0);
  private final StepPlan plan = new StepPlan(2);

  private Sequence sequence(int promptLength, int maxNew, RecordingSink sink) {
    int[] prompt = new int[promptLength];
    java.util.Arrays.fill(prompt, 1);
    return new Sequence(prompt, maxNew, HEAD, SamplingParams.GREEDY, 1, Sequence.NO_LOGPROBS,
        new int[0], List.of(), 0, Sequence.NO_DEADLINE, sink);
  }

  private int step() {
    if (!scheduler.plan(plan, message, 1)) {
      return 0;
    }
    engine.submit(0);
    engine.await(0, 0);
    scheduler.apply(plan, output, 1);
    return plan.numTokens();
  }

  @Test
  void theSmallestPoolSaysHowLongASequenceCanBe() {
    SchedulerLimits uneven = new SchedulerLimits(2, 8, 8, new int[] {6, 4});
    assertEquals(32, uneven.maxPositions());
    Scheduler strict = new Scheduler(uneven, new SchedulerCounters(), 0);
    strict.add(sequence(32, 1, new RecordingSink()));
    strict.add(sequence(1, 32, new RecordingSink()));
    Sequence long33 = sequence(32, 2, new RecordingSink());
    assertThrows(IllegalArgumentException.class, () -> strict.add(long33));
    assertEquals(
        Integer.MAX_VALUE,
        new SchedulerLimits(1, 1, 1 << 20, new int[] {1 << 20}).maxPositions());
  }

  @Test
  void aLongPromptIsCutIntoChunks() {
    RecordingSink sink = new RecordingSink();
    scheduler.add(sequence(20, 2, sink));
    assertEquals(8, step());
    assertEquals(8, step());
    assertTrue(sink.tokens.isEmpty());
    assertEquals(4, step());
    assertEquals(1, sink.tokens.size());
    assertEquals(1, step());
    assertEquals(FinishReason.LENGTH, sink.reason);
    assertEquals(0, step());
    assertEquals(20, counters.promptTokens.get());
    assertEquals(2, counters.newTokens.get());
  }

  @Test
  void decodesGoBeforeChunks() {
    RecordingSink first = new RecordingSink();
    RecordingSink second = new RecordingSink();
    scheduler.add(sequence(3, 10, first));
    step();
    scheduler.add(sequence(20, 4, second));
    assertEquals(8, step());
    assertEquals(2, first.tokens.size());
    assertEquals(8, step());
    assertEquals(3, first.tokens.size());
    assertTrue(second.tokens.isEmpty());
    assertEquals(7, step());
    assertEquals(1, second.tokens.size());
  }

  @Test
  void whatDoesNotFitWaitsItsTurn() {
    RecordingSink big = new RecordingSink();
    RecordingSink next = new RecordingSink();
    RecordingSink small = new RecordingSink();
    scheduler.add(sequence(25, 8, big)); // 26 tokens: 4 of 6 blocks
    scheduler.add(sequence(17, 3, next)); // 18 tokens: 3 blocks, must wait
    scheduler.add(sequence(1, 1, small)); // would fit, but does not overtake
    step();
    assertEquals(1, counters.running.get());
    assertEquals(2, counters.waiting.get());
    while (big.reason == null) {
      assertNull(small.reason);
      step();
    }
    while (small.reason == null) {
      step();
    }
    assertEquals(FinishReason.LENGTH, small.reason);
    assertEquals(0, counters.waiting.get());
    assertEquals(0, counters.preemptions.get());
  }

  @Test
  void whatCanNeverFitIsRefused() {
    assertThrows(
        IllegalArgumentException.class, () -> scheduler.add(sequence(2, 48, new RecordingSink())));
  }

  @Test
  void cancellingFreesAtOnceWhileAStepIsInFlight() {
    RecordingSink sink = new RecordingSink();
    Sequence sequence = sequence(8, 20, sink);
    scheduler.add(sequence);
    assertTrue(scheduler.plan(plan, message, 1));
    engine.submit(0);
    scheduler.finish(sequence, FinishReason.CANCELLED, "", 2);
    scheduler.finish(sequence, FinishReason.TIMEOUT, "", 3);
    assertEquals(0, scheduler.pool(0).used());
    assertEquals(FinishReason.CANCELLED, sink.reason);
    engine.await(0, 0);
    scheduler.apply(plan, output, 4);
    assertTrue(sink.tokens.isEmpty());
    assertTrue(scheduler.isIdle());
    assertEquals(1, counters.finished(FinishReason.CANCELLED).get());
    assertEquals(0, counters.finished(FinishReason.TIMEOUT).get());
  }

  @Test
  void queueTimeCountsTowardsTheTimeout() {
    RecordingSink running = new RecordingSink();
    RecordingSink late = new RecordingSink();
    scheduler.add(sequence(1, 40, running));
    step();
    scheduler.add(new Sequence(new int[] {1, 1}, 20, HEAD, SamplingParams.GREEDY, 1,
        Sequence.NO_LOGPROBS, new int[0], List.of(), 0, 100, late));
    assertEquals(100, scheduler.nearestDeadline());
    scheduler.expire(99);
    assertNull(late.reason);
    scheduler.expire(100);
    assertEquals(FinishReason.TIMEOUT, late.reason);
    assertEquals(Sequence.NO_DEADLINE, scheduler.nearestDeadline());
    assertNull(running.reason);
  }

  @Test
  void aRowThatIsNotFiniteEndsItsSequenceAlone() {
    RecordingSink bad = new RecordingSink();
    RecordingSink good = new RecordingSink();
    engine.poisonedSeeds.add(13L);
    scheduler.add(new Sequence(new int[] {1, 1}, 4, HEAD, SamplingParams.GREEDY, 13,
        Sequence.NO_LOGPROBS, new int[0], List.of(), 0, Sequence.NO_DEADLINE, bad));
    scheduler.add(sequence(2, 4, good));
    step();
    assertEquals(FinishReason.ERROR, bad.reason);
    assertTrue(bad.detail.contains("not finite"), bad.detail);
    assertEquals(1, good.tokens.size());
  }

  @Test
  void aSinkThatThrowsEndsItsSequenceAlone() {
    RecordingSink good = new RecordingSink();
    RecordingSink record = new RecordingSink();
    TokenSink bad = new TokenSink() {
      @Override
      public void admitted(int cachedTokens) {}

      @Override
      public boolean token(int token, boolean stopsHere, StepOutput out, int row, int index) {
        throw new IllegalStateException("broken");
      }

      @Override
      public void finished(FinishReason reason, String detail, SequenceTimes times) {
        record.finished(reason, detail, times);
      }

      @Override
      public void failed(ai.sluice.api.SluiceException cause) {}
    };
    scheduler.add(new Sequence(new int[] {1, 1}, 4, HEAD, SamplingParams.GREEDY, 1,
        Sequence.NO_LOGPROBS, new int[0], List.of(), 0, Sequence.NO_DEADLINE, bad));
    scheduler.add(sequence(2, 4, good));
    step();
    assertEquals(FinishReason.ERROR, record.reason);
    assertTrue(record.detail.contains("broken"), record.detail);
    step();
    assertEquals(2, good.tokens.size());
    assertFalse(scheduler.isIdle());
  }

  @Test
  void valuesEndASequenceAtItsPrompt() {
    RecordingSink values = new RecordingSink();
    RecordingSink tokens = new RecordingSink();
    int[] prompt = {5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
    scheduler.add(
        new Sequence(prompt, 1, new HeadChoice(FakeEngine.VALUES_HEAD, FakeEngine.HEAD_VALUES),
            SamplingParams.GREEDY, 1, Sequence.NO_LOGPROBS, new int[0], List.of(), 0,
            Sequence.NO_DEADLINE, values));
    scheduler.add(sequence(3, 2, tokens));
    assertEquals(8, step());
    assertTrue(values.values.isEmpty());
    step();
    assertEquals(
        List.of(FakeEngine.value(prompt, 0), FakeEngine.value(prompt, 1),
            FakeEngine.value(prompt, 2)),
        values.values);
    assertEquals(FinishReason.STOP, values.reason);
    assertTrue(values.tokens.isEmpty());
    step();
    assertEquals(FinishReason.LENGTH, tokens.reason);
    assertEquals(2, counters.newTokens.get());
    assertTrue(scheduler.isIdle());
    assertEquals(0, counters.usedBlocks.get());
  }
}

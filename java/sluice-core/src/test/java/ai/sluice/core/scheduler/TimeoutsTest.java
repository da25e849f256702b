package ai.sluice.core.scheduler;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import ai.sluice.api.FinishReason;
import java.util.List;
import org.junit.jupiter.api.Test;

/** When a sequence ends because it took too long, and what it says of that. */
class TimeoutsTest {
  private static final long NEVER = Sequence.NO_DEADLINE;
  private static final String IN_QUEUE = "queueTimeout passed before it was admitted";
  private static final String BEFORE_TOKEN = "firstTokenTimeout passed before its first token";

  private final SchedulerLimits limits =
      new SchedulerLimits(1, 8, TestBench.BLOCK, new int[] {12});
  private final TestBench bench = new TestBench(1, limits, 4, 4, 1);
  private final RecordingSink sink = new RecordingSink();

  private Sequence add(int length, long deadline, long inQueue, long beforeToken) {
    return add(length, deadline, inQueue, beforeToken, sink);
  }

  private Sequence add(
      int length, long deadline, long inQueue, long beforeToken, RecordingSink into) {
    Sequence sequence =
        new Sequence(
            TestBench.prompt(length, 1), 20, HeadChoice.tokens(0), SamplingParams.GREEDY, 1,
            Sequence.NO_LOGPROBS, new int[0], List.of(), 0, deadline, into);
    sequence.expire(inQueue, beforeToken);
    bench.scheduler.add(sequence);
    return sequence;
  }

  private void expireAt(long now) {
    bench.now = now;
    bench.scheduler.expire(now);
  }

  private void ended(String detail) {
    assertEquals(FinishReason.TIMEOUT, sink.reason);
    assertEquals(detail, sink.detail);
    assertEquals(1, bench.counters.finished(FinishReason.TIMEOUT).get());
  }

  @Test
  void theQueueDeadlineCountsUntilItIsAdmitted() {
    add(4, NEVER, 10, NEVER);
    assertEquals(10, bench.scheduler.nearestDeadline());
    expireAt(9);
    assertNull(sink.reason);
    expireAt(10);
    ended(IN_QUEUE);
    assertEquals(NEVER, bench.scheduler.nearestDeadline());
  }

  @Test
  void onceAdmittedTheQueueDeadlineIsPast() {
    Sequence sequence = add(40, NEVER, 10, NEVER);
    bench.turn();
    expireAt(10);
    assertNull(sink.reason);
    assertEquals(NEVER, bench.scheduler.nearestDeadline());
    // Not even when it is back in the queue.
    bench.scheduler.preempt(sequence);
    expireAt(11);
    assertNull(sink.reason);
    bench.drain();
    assertEquals(20, sink.tokens.size());
  }

  @Test
  void aRequestLeavesTheQueueWithItsFirstSequence() {
    // One slot, and five steps for the prompt that the fork waits for.
    RecordingSink fork = new RecordingSink();
    Sequence leader = add(40, NEVER, 10, NEVER);
    addFork(leader, 10, fork);
    bench.turn();
    assertEquals(1, sink.admissions);
    expireAt(10);
    assertNull(fork.reason);
    assertEquals(NEVER, bench.scheduler.nearestDeadline());
    // Not even when it has to go on by itself.
    bench.scheduler.finish(leader, FinishReason.CANCELLED, "", 11);
    expireAt(12);
    bench.drain();
    assertEquals(FinishReason.LENGTH, fork.reason);
  }

  @Test
  void scoresOfOneRequestLeaveTheQueueTogether() {
    // One slot: the second waits until the first has ended.
    ScoringSink[] sinks = {new ScoringSink(), new ScoringSink()};
    Sequence[] sequences = new Sequence[2];
    for (int i = 0; i < 2; i++) {
      sequences[i] = TestBench.sequence(TestBench.prompt(30, 1 + i), 1, sinks[i]);
      sequences[i].score(1, new int[] {1});
      sequences[i].expire(10, NEVER);
    }
    sequences[1].queueWith(sequences[0]);
    bench.scheduler.add(sequences[0]);
    bench.scheduler.add(sequences[1]);
    assertEquals(10, bench.scheduler.nearestDeadline());
    bench.turn();
    expireAt(10);
    bench.drain();
    assertEquals(FinishReason.STOP, sinks[0].reason);
    assertEquals(FinishReason.STOP, sinks[1].reason);
  }

  @Test
  void aForkWhoseLeaderLeavesWithoutBeingAdmittedWaitsOn() {
    RecordingSink fork = new RecordingSink();
    Sequence leader = add(40, NEVER, 10, NEVER);
    addFork(leader, 10, fork);
    bench.scheduler.finish(leader, FinishReason.CANCELLED, "", 5);
    expireAt(9);
    assertNull(fork.reason);
    expireAt(10);
    assertEquals(FinishReason.TIMEOUT, fork.reason);
    assertEquals(IN_QUEUE, fork.detail);
  }

  private void addFork(Sequence leader, long inQueue, RecordingSink into) {
    Sequence sequence = TestBench.sequence(TestBench.prompt(40, 1), 20, into);
    sequence.expire(inQueue, NEVER);
    sequence.forkOf(leader);
    bench.scheduler.add(sequence);
  }

  @Test
  void theFirstTokenDeadlineCountsInTheQueueAndInThePrompt() {
    add(4, NEVER, NEVER, 10);
    expireAt(10);
    ended(BEFORE_TOKEN);
    RecordingSink running = new RecordingSink();
    add(40, NEVER, 15, 20, running);
    assertEquals(15, bench.scheduler.nearestDeadline());
    bench.turn();
    expireAt(15);
    assertEquals(20, bench.scheduler.nearestDeadline());
    expireAt(20);
    assertEquals(BEFORE_TOKEN, running.detail);
    assertEquals(0, bench.scheduler.pool(0).used());
  }

  @Test
  void afterTheFirstTokenOnlyTheWholeCounts() {
    add(4, 30, 10, 10);
    bench.turn();
    assertEquals(1, sink.tokens.size());
    expireAt(10);
    assertNull(sink.reason);
    assertEquals(30, bench.scheduler.nearestDeadline());
    expireAt(30);
    ended("");
  }

  @Test
  void whatIsNamedIsTheFirstThatCounted() {
    add(4, 10, 10, 10);
    expireAt(10);
    ended(IN_QUEUE);
  }

  @Test
  void aScoreIsAFirstToken() {
    ScoringSink scores = new ScoringSink();
    Sequence sequence = TestBench.sequence(TestBench.prompt(30, 1), 1, scores);
    sequence.score(1, new int[] {1});
    sequence.expire(NEVER, 10);
    bench.scheduler.add(sequence);
    bench.turn();
    expireAt(10);
    assertNull(scores.reason);
    bench.drain();
    assertEquals(30, scores.scores.size());
  }
}

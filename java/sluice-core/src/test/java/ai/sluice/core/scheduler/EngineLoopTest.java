package ai.sluice.core.scheduler;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.EngineFailedException;
import ai.sluice.api.FinishReason;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The thread around the scheduler, with many callers at once. */
@Timeout(600)
class EngineLoopTest {
  private static final HeadChoice HEAD = HeadChoice.tokens(0);

  private final SchedulerLimits limits = new SchedulerLimits(4, 16, 8, new int[] {40});
  private final FakeEngine engine = new FakeEngine(2, 1, 0, limits, 64, 2, 32, 32, 8);
  private final SchedulerCounters counters = new SchedulerCounters();
  private final Scheduler scheduler = new Scheduler(limits, counters, 0);
  private final EngineLoop loop =
      new EngineLoop(
          "test", scheduler, counters, engine,
          new StepMessage[] {engine.message(0), engine.message(1)},
          new StepOutput[] {engine.outputOf(0), engine.outputOf(1)}, 4, System::nanoTime);

  @AfterEach
  void stop() {
    loop.stop();
    loop.join();
  }

  private static Sequence sequence(int maxNew, RecordingSink sink) {
    return new Sequence(new int[] {1, 2, 3}, maxNew, HEAD, SamplingParams.GREEDY, 1,
        Sequence.NO_LOGPROBS, new int[0], List.of(), System.nanoTime(), Sequence.NO_DEADLINE,
        sink);
  }

  private static void until(BooleanSupplier condition) {
    while (!condition.getAsBoolean()) {
      Thread.onSpinWait();
    }
  }

  @Test
  void manyCallersAllGetTheirTokens() throws Exception {
    loop.start();
    List<Thread> threads = new ArrayList<>();
    List<RecordingSink> sinks = new ArrayList<>();
    List<RecordingSink> cancelled = new ArrayList<>();
    for (int t = 0; t < 4; t++) {
      int number = t;
      Thread thread = new Thread(() -> {
        Random random = new Random(number);
        for (int i = 0; i < 100; i++) {
          RecordingSink sink = new RecordingSink();
          Sequence sequence = sequence(1 + random.nextInt(20), sink);
          loop.add(sequence);
          if (random.nextInt(4) == 0) {
            loop.cancel(sequence, "asked");
            synchronized (cancelled) {
              cancelled.add(sink);
            }
          } else {
            synchronized (sinks) {
              sinks.add(sink);
            }
          }
        }
      });
      threads.add(thread);
      thread.start();
    }
    for (Thread thread : threads) {
      thread.join();
    }
    until(() -> sinks.stream().allMatch(s -> s.reason != null));
    until(() -> cancelled.stream().allMatch(s -> s.reason != null));
    sinks.forEach(s -> assertEquals(FinishReason.LENGTH, s.reason));
    assertEquals(0, counters.usedBlocks.get());
  }

  @Test
  void stoppingCancelsWhatIsOpenAndWhatComesLater() {
    engine.stepNanos = 1_000_000;
    loop.start();
    RecordingSink open = new RecordingSink();
    loop.add(sequence(60, open));
    until(() -> counters.newTokens.get() > 2);
    loop.stop();
    loop.join();
    assertEquals(FinishReason.CANCELLED, open.reason);
    assertEquals("the engine was closed", open.detail);
    RecordingSink later = new RecordingSink();
    loop.add(sequence(5, later));
    assertEquals(FinishReason.CANCELLED, later.reason);
  }

  @Test
  void anAbortThatFailsDoesNotKeepTheLoopFromEnding() {
    engine.abortFails = true;
    loop.start();
    RecordingSink open = new RecordingSink();
    loop.add(sequence(5, open));
    until(() -> open.reason != null);
    assertThrows(EngineFailedException.class, loop::stop);
    loop.join();
    RecordingSink later = new RecordingSink();
    loop.add(sequence(5, later));
    assertEquals(FinishReason.CANCELLED, later.reason);
    engine.abortFails = false;
  }

  @Test
  void stoppingBeforeStartingIsHarmless() {
    RecordingSink sink = new RecordingSink();
    loop.add(sequence(5, sink));
    loop.stop();
    loop.join();
    assertEquals(FinishReason.CANCELLED, sink.reason);
  }

  @Test
  void aFailedStepFailsEverySequenceAndEveryLaterOne() {
    engine.failAtStep = 5;
    loop.start();
    RecordingSink first = new RecordingSink();
    RecordingSink second = new RecordingSink();
    loop.add(sequence(50, first));
    loop.add(sequence(50, second));
    until(() -> first.failure != null && second.failure != null);
    assertInstanceOf(EngineFailedException.class, first.failure);
    assertTrue(loop.failure() instanceof EngineFailedException);
    RecordingSink later = new RecordingSink();
    loop.add(sequence(5, later));
    until(() -> later.failure != null);
    assertEquals(0, counters.usedBlocks.get());
  }

  private static RecordingSink broken(String... calls) {
    RecordingSink sink = new RecordingSink();
    sink.broken = new OutOfMemoryError("unable to create native thread");
    sink.brokenCalls = List.of(calls);
    return sink;
  }

  @Test
  void aSinkThatThrowsFailsAloneAndTheOthersGoOn() {
    loop.start();
    RecordingSink atEnd = broken("finished");
    RecordingSink atBoth = broken("admitted", "finished", "failed");
    RecordingSink atToken = broken("token");
    RecordingSink cancelled = broken("finished", "failed");
    RecordingSink healthy = new RecordingSink();
    loop.add(sequence(6, atEnd));
    loop.add(sequence(6, atBoth));
    loop.add(sequence(6, atToken));
    loop.add(sequence(6, healthy));
    Sequence endless = sequence(60, cancelled);
    loop.add(endless);
    loop.cancel(endless, "asked");
    until(() -> healthy.reason != null && atEnd.failure != null && atToken.reason != null);
    until(() -> atBoth.failedCalls > 0 && cancelled.failedCalls > 0);
    assertEquals(FinishReason.LENGTH, healthy.reason);
    assertEquals(FinishReason.ERROR, atToken.reason);
    assertInstanceOf(EngineFailedException.class, atEnd.failure);
    assertTrue(atEnd.failure.getMessage().contains("ended with LENGTH"), atEnd.failure.toString());
    assertEquals(1, atBoth.failedCalls);
    assertNull(loop.failure());
    RecordingSink later = new RecordingSink();
    loop.add(sequence(5, later));
    until(() -> later.reason != null);
    assertEquals(FinishReason.LENGTH, later.reason);
    until(() -> counters.usedBlocks.get() == 0);
  }

  @Test
  void brokenSinksDoNotKeepTheEngineFromFailingOrClosing() {
    engine.failAtStep = 5;
    loop.start();
    RecordingSink atFailure = broken("failed");
    RecordingSink healthy = new RecordingSink();
    loop.add(sequence(50, healthy));
    loop.add(sequence(50, atFailure));
    until(() -> healthy.failure != null && atFailure.failedCalls == 1);
    RecordingSink atClose = broken("finished", "failed");
    loop.stop();
    loop.join();
    loop.add(sequence(5, atClose));
    assertEquals(1, atClose.failedCalls);
    assertEquals(0, counters.usedBlocks.get());
  }

  @Test
  void aSequenceThatTheSchedulerRefusesFailsAlone() {
    loop.start();
    RecordingSink sink = new RecordingSink();
    loop.add(sequence(10_000, sink));
    until(() -> sink.failure != null);
    assertTrue(sink.failure.getMessage().contains("blocks (expected: at most"));
    assertNull(loop.failure());
  }

  @Test
  void anInterruptOfItsThreadMeansNothing() {
    RecordingSink first = new RecordingSink();
    loop.start();
    loop.add(sequence(5, first));
    until(() -> first.reason != null);
    Thread thread =
        Thread.getAllStackTraces().keySet().stream()
            .filter(t -> t.getName().equals("test"))
            .findFirst()
            .orElseThrow();
    thread.interrupt();
    // It parks again, instead of turning for ever.
    until(() -> !thread.isInterrupted());
    RecordingSink second = new RecordingSink();
    loop.add(sequence(5, second));
    until(() -> second.reason != null);
    assertEquals(FinishReason.LENGTH, second.reason);
  }

  @Test
  void aWaitingSequenceTimesOutThoughNothingRuns() {
    loop.start();
    RecordingSink sink = new RecordingSink();
    long now = System.nanoTime();
    engine.stepNanos = 20_000_000;
    loop.add(new Sequence(new int[] {1}, 60, HEAD, SamplingParams.GREEDY, 1, Sequence.NO_LOGPROBS,
        new int[0], List.of(), now, now + 50_000_000, sink));
    until(() -> sink.reason != null);
    assertEquals(FinishReason.TIMEOUT, sink.reason);
  }
}

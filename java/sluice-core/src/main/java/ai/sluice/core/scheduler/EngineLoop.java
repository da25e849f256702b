package ai.sluice.core.scheduler;

import ai.sluice.api.EngineFailedException;
import ai.sluice.api.FinishReason;
import ai.sluice.api.SluiceException;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.locks.LockSupport;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The one thread that owns a scheduler: it takes commands, plans, submits, waits and applies. With
 * overlap it plans the next step while one runs. A daemon, so that a program may end without
 * closing its engine. Commands may come from any thread.
 */
public final class EngineLoop implements Runnable {
  /** How often a wait for a step looks whether the engine is being closed. */
  private static final long AWAIT_MICROS = 100_000;

  private static final Logger LOG = LoggerFactory.getLogger(EngineLoop.class);

  private final Scheduler scheduler;
  private final SchedulerCounters counters;
  private final StepRunner runner;
  private final StepMessage[] messages;
  private final StepOutput[] outputs;
  private final StepPlan[] plans;
  private final ConcurrentLinkedQueue<Runnable> commands = new ConcurrentLinkedQueue<>();
  private final LongSupplier clock;
  private final Thread thread;
  private int inFlight;
  private int nextSlot;
  private volatile boolean stopping;
  private volatile @Nullable SluiceException failure;

  /**
   * Creates the loop without starting it.
   *
   * @param name of its thread
   * @param scheduler its own from now on
   * @param counters of the scheduler
   * @param runner runs the steps
   * @param messages a writer for each slot that is to be used; one slot means no overlap
   * @param outputs a reader for each of them
   * @param maxRows output rows of a step
   * @param clock nanoseconds, the clock of the sequences' times
   */
  public EngineLoop(
      String name,
      Scheduler scheduler,
      SchedulerCounters counters,
      StepRunner runner,
      StepMessage[] messages,
      StepOutput[] outputs,
      int maxRows,
      LongSupplier clock) {
    this.clock = clock;
    this.scheduler = scheduler;
    this.counters = counters;
    this.runner = runner;
    this.messages = messages.clone();
    this.outputs = outputs.clone();
    plans = new StepPlan[messages.length];
    for (int i = 0; i < plans.length; i++) {
      plans[i] = new StepPlan(maxRows);
    }
    thread = new Thread(this, name);
    thread.setDaemon(true);
  }

  /** Starts the thread. */
  public void start() {
    thread.start();
  }

  /** Why the engine failed, or null. */
  public @Nullable SluiceException failure() {
    return failure;
  }

  /** Queues a sequence. After {@link #stop} it ends as cancelled. */
  public void add(Sequence sequence) {
    addAll(List.of(sequence));
  }

  /**
   * Queues sequences that belong together, all at once: none of them has ended before the scheduler
   * knows the last. After {@link #stop} they end as cancelled.
   */
  public void addAll(List<Sequence> sequences) {
    execute(() -> sequences.forEach(this::addNow));
  }

  private void addNow(Sequence sequence) {
    try {
      scheduler.add(sequence);
    } catch (Throwable e) {
      // Nobody else knows of it yet, so nobody else would end it.
      sequence.tellFailed(failed(e));
    }
  }

  /** Ends a sequence before its time; harmless when it is over. */
  public void cancel(Sequence sequence, String detail) {
    cancelAll(List.of(sequence), detail);
  }

  /** Ends sequences before their time; harmless for those that are over. */
  public void cancelAll(List<Sequence> sequences, String detail) {
    execute(
        () -> {
          for (Sequence sequence : sequences) {
            scheduler.finish(sequence, FinishReason.CANCELLED, detail, clock.getAsLong());
          }
        });
  }

  private void execute(Runnable command) {
    commands.add(command);
    LockSupport.unpark(thread);
    if (stopping && !thread.isAlive()) {
      // The thread may have ended before it saw the command; a sequence must still be ended.
      drainAfterEnd();
    }
  }

  /**
   * Makes the loop end: sequences are cancelled, the step in flight is aborted. Returns at once.
   */
  public void stop() {
    stopping = true;
    try {
      runner.abort();
    } finally {
      LockSupport.unpark(thread);
    }
  }

  /** Waits until the loop has ended. An interrupt is kept for later. */
  public void join() {
    boolean interrupted = false;
    while (true) {
      try {
        thread.join();
        break;
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    drainAfterEnd();
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private synchronized void drainAfterEnd() {
    runCommands();
    scheduler.finishAll(FinishReason.CANCELLED, "the engine was closed", clock.getAsLong());
  }

  @Override
  public void run() {
    while (!stopping) {
      try {
        turn();
      } catch (Throwable e) {
        if (!stopping) {
          fail(e);
        }
      }
    }
    try {
      scheduler.finishAll(FinishReason.CANCELLED, "the engine was closed", clock.getAsLong());
    } catch (Throwable e) {
      LOG.error("the engine's thread ends with sequences open; join() ends them", e);
    }
  }

  private void fail(Throwable e) {
    try {
      SluiceException cause = failed(e);
      failure = cause;
      inFlight = 0;
      scheduler.failAll(cause);
    } catch (Throwable secondary) {
      // The next turn fails what is still open.
      LOG.error("the engine failed twice at once, first: " + e, secondary);
    }
  }

  private static SluiceException failed(Throwable e) {
    return e instanceof SluiceException known
            && !(e instanceof ai.sluice.api.InvalidRequestException)
        ? known
        : new EngineFailedException(
            "engine: failed (expected: no failure; close it and open another): " + e, e);
  }

  private void turn() {
    SluiceException cause = failure;
    if (cause != null) {
      runCommands();
      scheduler.failAll(cause);
      park(Sequence.NO_DEADLINE);
      return;
    }
    long start = clock.getAsLong();
    runCommands();
    scheduler.expire(start);
    long begin = clock.getAsLong();
    while (inFlight < plans.length
        && scheduler.plan(plans[nextSlot], messages[nextSlot], begin)) {
      plans[nextSlot].planNanos = clock.getAsLong() - begin;
      runner.submit(nextSlot);
      nextSlot = (nextSlot + 1) % plans.length;
      inFlight++;
      begin = clock.getAsLong();
    }
    counters.planNanos.addAndGet(clock.getAsLong() - start);
    if (inFlight == 0) {
      park(scheduler.nearestDeadline());
      return;
    }
    int oldest = Math.floorMod(nextSlot - inFlight, plans.length);
    while (!runner.await(oldest, AWAIT_MICROS)) {
      if (stopping) {
        return;
      }
    }
    inFlight--;
    start = clock.getAsLong();
    scheduler.apply(plans[oldest], outputs[oldest], start);
    counters.planNanos.addAndGet(clock.getAsLong() - start);
  }

  private void runCommands() {
    Runnable command;
    while ((command = commands.poll()) != null) {
      command.run();
    }
  }

  private void park(long deadline) {
    // Nobody has a reason to interrupt this thread; while it is interrupted it would not sleep.
    Thread.interrupted();
    if (!commands.isEmpty() || stopping) {
      return;
    }
    if (deadline == Sequence.NO_DEADLINE) {
      LockSupport.park(this);
    } else {
      LockSupport.parkNanos(this, deadline - clock.getAsLong());
    }
  }
}

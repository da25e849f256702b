package ai.sluice.core;

import ai.sluice.api.BatcherOptions;
import ai.sluice.api.ClassificationRequest;
import ai.sluice.api.ClassificationResult;
import ai.sluice.api.EngineClosedException;
import ai.sluice.api.EngineFailedException;
import ai.sluice.api.FinishReason;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ScoreRequest;
import ai.sluice.api.ScoreResult;
import ai.sluice.api.SluiceException;
import java.util.Comparator;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.BiFunction;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Gathers classifications and scores into batches: a batch is handed to the engine when it is full
 * or its first request has waited long enough, shortest sequences first. Meant for many callers
 * with one small request each. Made by {@link Engine#batcher}. Thread-safe, also from virtual
 * threads.
 *
 * <p>A request that the engine has no room for waits, and is never lost. One that fails, fails
 * alone. Times of results, and timeouts, count from the submit to the batcher.
 */
public final class Batcher implements AutoCloseable {
  private static final long RETRY_NANOS = 5_000_000;

  private final BatcherOptions options;
  private final BatchTarget target;
  private final Executor results;
  private final BatchClock clock;
  private final ReentrantLock lock = new ReentrantLock();
  /** Signalled when something was added, or it is being closed. */
  private final Condition changed = lock.newCondition();

  /** Signalled when a request is over, or it is being closed. */
  private final Condition room = lock.newCondition();

  /** Guarded by the lock. */
  private final BatchWindow<Item<?>> window;

  private final Set<Item<?>> open = ConcurrentHashMap.newKeySet();
  private final CompletableFuture<Void> handedOn = new CompletableFuture<>();
  private final Runnable whenClosed;
  private final Thread thread;
  /** Guarded by the lock. */
  private int waiting;

  private volatile boolean closing;
  /** Why nothing is handed on any more. */
  private volatile @Nullable String abandoned;

  /**
   * Creates a batcher and starts its thread.
   *
   * @param name of the thread
   * @param target takes what is handed on
   * @param results completes what the engine does not
   * @param whenClosed called once, when it is closed
   */
  Batcher(
      String name,
      BatcherOptions options,
      BatchTarget target,
      Executor results,
      BatchClock clock,
      Runnable whenClosed) {
    this.options = options;
    this.target = target;
    this.results = results;
    this.clock = clock;
    this.whenClosed = whenClosed;
    window = new BatchWindow<>(options.maxBatchSize(), options.maxWait().toNanos());
    thread = new Thread(this::run, name);
    thread.setDaemon(true);
    thread.start();
  }

  /** One request on its way. */
  private final class Item<R> {
    final long tokens;
    final WorkFuture<R> outer = new WorkFuture<>(results);
    private final Supplier<WorkFuture<R>> starter;
    private final BiFunction<FinishReason, String, R> unstarted;
    private volatile boolean ended;
    private volatile @Nullable WorkFuture<R> inner;

    Item(
        long tokens,
        Supplier<WorkFuture<R>> starter,
        BiFunction<FinishReason, String, R> unstarted) {
      this.tokens = tokens;
      this.starter = starter;
      this.unstarted = unstarted;
      outer.canceller(this::end);
      outer.whenComplete((value, failure) -> leave(this));
    }

    R rejected(String why) {
      return unstarted.apply(FinishReason.REJECTED, why);
    }

    /** Hands it to the engine; throws if that has no room. */
    void start() {
      if (outer.isDone()) {
        return;
      }
      String why = ended ? "the batcher was closed, and that was interrupted" : abandoned;
      if (why != null) {
        endUnlessStarted(why);
        return;
      }
      try {
        WorkFuture<R> started = starter.get();
        inner = started;
        outer.follow(started);
        if (ended) {
          started.endWork();
        }
      } catch (SluiceException e) {
        outer.fail(e);
      }
    }

    /** Asks for its end; if it was not handed on yet, it will be over once it is. */
    void end() {
      ended = true;
      WorkFuture<R> started = inner;
      if (started != null) {
        started.endWork();
      }
    }

    void endUnlessStarted(String why) {
      if (inner == null) {
        outer.deliver(() -> unstarted.apply(FinishReason.CANCELLED, why));
      }
    }

    void fail(SluiceException cause) {
      outer.fail(cause);
    }
  }

  /**
   * Adds a classification. Returns at once; when too many wait, with a result that says {@link
   * FinishReason#REJECTED}.
   *
   * @return as {@link Engine#submit(ClassificationRequest)}
   * @throws InvalidRequestException if the request does not fit the model, or has more tokens than
   *     the batcher takes
   * @throws EngineClosedException if the batcher or the engine is closed
   * @throws SluiceException as {@link Engine#submit(ClassificationRequest)}
   */
  public CompletableFuture<ClassificationResult> submit(ClassificationRequest request) {
    requireOpen();
    long submitted = target.now();
    int[] prompt = target.encode(request);
    requireShort("prompt", prompt.length);
    return add(
        new Item<>(
            prompt.length,
            () -> target.classify(request, prompt, submitted),
            Unstarted::classification));
  }

  /**
   * Adds a score request. Returns at once; when too many wait, with a result that says {@link
   * FinishReason#REJECTED}.
   *
   * @return as {@link Engine#submit(ScoreRequest)}
   * @throws InvalidRequestException if the request does not fit the model, or a continuation with
   *     its prompt has more tokens than the batcher takes
   * @throws EngineClosedException if the batcher or the engine is closed
   * @throws SluiceException as {@link Engine#submit(ScoreRequest)}
   */
  public CompletableFuture<ScoreResult> submit(ScoreRequest request) {
    requireOpen();
    long submitted = target.now();
    ScoreEncoder.Encoded encoded = target.encode(request);
    requireShort("prompt with a continuation", encoded.longest());
    return add(
        new Item<>(
            encoded.promptTokens(),
            () -> target.score(request, encoded, submitted),
            Unstarted::score));
  }

  private void requireShort(String what, long tokens) {
    if (tokens > options.maxSequenceLength()) {
      throw new InvalidRequestException(
          what + ": " + tokens + " tokens (expected: at most " + options.maxSequenceLength()
              + ", the batcher's maxSequenceLength)");
    }
  }

  private void requireOpen() {
    target.requireOpen();
    if (closing) {
      throw new EngineClosedException("batcher: closed (expected: open; make another)");
    }
  }

  private <R> CompletableFuture<R> add(Item<R> item) {
    lock.lock();
    try {
      requireOpen();
      if (waiting >= options.maxQueuedRequests()) {
        target.countRejected();
        return CompletableFuture.completedFuture(
            item.rejected(
                "batcher: " + waiting + " requests wait (expected: fewer than maxQueuedRequests = "
                    + options.maxQueuedRequests() + "; try again later)"));
      }
      open.add(item);
      waiting++;
      window.add(item, clock.now());
      changed.signalAll();
    } finally {
      lock.unlock();
    }
    return item.outer;
  }

  private void leave(Item<?> item) {
    open.remove(item);
    lock.lock();
    try {
      room.signalAll();
    } finally {
      lock.unlock();
    }
  }

  private void run() {
    try {
      List<Item<?>> batch;
      while (!(batch = next()).isEmpty()) {
        batch.sort(Comparator.comparingLong(item -> item.tokens));
        for (Item<?> item : batch) {
          handOn(item);
        }
      }
    } catch (Throwable e) {
      fail(
          new EngineFailedException(
              "batcher: failed (expected: no failure; make another): " + e, e));
    } finally {
      handedOn.complete(null);
    }
  }

  /** The next batch that is due; empty at the end. */
  private List<Item<?>> next() {
    lock.lock();
    try {
      while (true) {
        long now = clock.now();
        List<Item<?>> batch = window.take(now, closing);
        if (!batch.isEmpty() || closing) {
          return batch;
        }
        long due = window.nextDue(now);
        await(changed, due == BatchWindow.NEVER ? due : due - now);
      }
    } finally {
      lock.unlock();
    }
  }

  private void handOn(Item<?> item) {
    try {
      while (true) {
        try {
          item.start();
          return;
        } catch (QueueFullException e) {
          // Others filled the engine's queue. Ours must not be lost for it.
          lock.lock();
          try {
            await(room, RETRY_NANOS);
          } finally {
            lock.unlock();
          }
        }
      }
    } catch (Throwable e) {
      item.fail(
          new EngineFailedException(
              "request: could not be started (expected: no failure; submit it again): " + e, e));
    } finally {
      lock.lock();
      try {
        waiting--;
      } finally {
        lock.unlock();
      }
    }
  }

  /** Nobody but this class knows the thread, so an interrupt means nothing. */
  private void await(Condition condition, long nanos) {
    try {
      clock.await(condition, nanos);
    } catch (InterruptedException e) {
      // Looked at again, and waited for again.
    }
  }

  private void endAll() {
    open.forEach(Item::end);
    lock.lock();
    try {
      room.signalAll();
    } finally {
      lock.unlock();
    }
  }

  /** Fails everything at once, because this failed. */
  private void fail(SluiceException cause) {
    stop();
    open.forEach(item -> item.fail(cause));
  }

  /** Ends what was not handed on, since nobody takes it any more. */
  void engineClosed() {
    String why = "the engine was closed";
    abandoned = why;
    stop();
    open.forEach(item -> item.endUnlessStarted(why));
  }

  /** Takes no more; what waits is due at once. */
  private void stop() {
    lock.lock();
    try {
      closing = true;
      changed.signalAll();
      room.signalAll();
    } finally {
      lock.unlock();
    }
    whenClosed.run();
  }

  /**
   * Hands on what waits, and waits until every request is over; takes no new ones. An interrupt
   * cancels what is not over: those results say {@link FinishReason#CANCELLED}, and the thread
   * stays interrupted. Harmless when repeated, concurrent, or from an action on a result.
   */
  @Override
  public void close() {
    stop();
    if (Thread.currentThread() == thread) {
      return; // an action on a result, once the engine is closed: it would wait for itself
    }
    boolean interrupted = await(handedOn);
    for (Item<?> item : open) {
      interrupted |= await(item.outer);
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /** Waits for the end of a future; true if that was interrupted, which cancels everything. */
  private boolean await(CompletableFuture<?> future) {
    boolean interrupted = false;
    while (true) {
      try {
        future.get();
        return interrupted;
      } catch (ExecutionException | CancellationException e) {
        return interrupted; // whoever holds the future is told
      } catch (InterruptedException e) {
        interrupted = true;
        endAll();
      }
    }
  }
}

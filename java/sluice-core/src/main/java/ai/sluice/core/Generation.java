package ai.sluice.core;

import ai.sluice.api.Chunk;
import ai.sluice.api.ChunkKind;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.SluiceException;
import ai.sluice.api.TokenLogprob;
import ai.sluice.api.ToolCall;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A generation in progress: read it as an {@link Iterable} of chunks, or by {@link #onChunk}, or
 * wait for {@link #result}. Thread-safe; one reader.
 *
 * <p>A reader never holds up the engine: what it has not read yet grows into fewer, longer chunks.
 * One that lags by more than the engine's {@code maxUnreadBytes} has its generation cancelled, with
 * a detail that says so. A generation that nobody reads or closes runs to its end and frees what it
 * held; what it said can be read then, or taken from its result.
 *
 * <p>{@code try (Generation g = engine.submit(request)) { for (Chunk c : g) { … } }} cancels the
 * rest when the loop is left early.
 */
public final class Generation implements AutoCloseable, Iterable<Chunk> {
  private static final Logger LOG = LoggerFactory.getLogger(Generation.class);

  private final Executor pumps;
  private final Executor results;
  private final Consumer<String> canceller;
  private final int maxUnreadBytes;
  private final ResultFuture result = new ResultFuture();
  private volatile boolean completing;
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();

  // Guarded by the lock.
  private final List<AlternativeOutput> alternatives;
  private final ArrayDeque<AlternativeOutput.Piece> unread = new ArrayDeque<>();
  private int numOpen;
  private long unreadBytes;
  private long mostUnreadBytes = Long.MAX_VALUE;
  private boolean readerClaimed;
  private boolean lagging;
  private boolean pumping;
  private boolean over;
  private @Nullable GenerationResult outcome;
  private @Nullable SluiceException failure;

  /**
   * Creates a generation that has produced nothing yet.
   *
   * @param pumps runs consumers of chunks, each on a thread of its own
   * @param results completes results, and so runs what users hang on them
   * @param alternatives how many sequences write to it, at least 1; it is over when all are
   * @param maxUnreadBytes by how much a reader may lag
   * @param canceller asks the engine to end all of them, with a detail for the results; may be
   *     called many times, on any thread, also within the calls that write
   */
  Generation(
      Executor pumps,
      Executor results,
      int alternatives,
      int maxUnreadBytes,
      Consumer<String> canceller) {
    this.pumps = pumps;
    this.results = results;
    this.maxUnreadBytes = maxUnreadBytes;
    this.canceller = canceller;
    this.alternatives = new ArrayList<>(alternatives);
    for (int i = 0; i < alternatives; i++) {
      this.alternatives.add(new AlternativeOutput(i));
    }
    numOpen = alternatives;
  }

  /**
   * Chunks as they come. The iterator blocks until the next chunk or the end. If the engine fails,
   * it throws after the chunks that came before. An interrupt cancels the generation and ends the
   * iteration; the thread stays interrupted.
   *
   * @throws IllegalStateException if the generation has a reader already
   */
  @Override
  public Iterator<Chunk> iterator() {
    claimReader();
    return new Iterator<>() {
      private @Nullable Chunk next;

      @Override
      public boolean hasNext() {
        if (next == null) {
          next = take();
        }
        return next != null;
      }

      @Override
      public Chunk next() {
        if (!hasNext()) {
          throw new NoSuchElementException();
        }
        Chunk chunk = next;
        next = null;
        return chunk;
      }
    };
  }

  /**
   * Hands chunks to a consumer as they come, on a thread of the engine's own. {@link #result}
   * completes after the last one. A consumer that throws cancels the generation.
   *
   * @return this
   * @throws IllegalStateException if the generation has a reader already
   */
  public Generation onChunk(Consumer<? super Chunk> consumer) {
    Objects.requireNonNull(consumer, "consumer");
    claimReader();
    lock.lock();
    try {
      pumping = true;
    } finally {
      lock.unlock();
    }
    try {
      pumps.execute(() -> pump(consumer));
    } catch (RejectedExecutionException e) {
      // The engine is closed, so this is no thread of its scheduler, and the end is near.
      pump(consumer);
    } catch (Throwable e) {
      cancel();
      endPump();
      throw e;
    }
    return this;
  }

  /**
   * The result, also of a generation that was cancelled, timed out or was rejected. Completes
   * exceptionally only if the engine failed. Cancelling the future, or completing it in any other
   * way, such as by {@code orTimeout}, cancels the generation. Actions
   * that hang on it run on a thread of the engine's own, one after the other; one that takes long
   * holds up the results of others, so give it an executor ({@code thenApplyAsync}). To wait for
   * another generation in one is harmless.
   */
  public CompletableFuture<GenerationResult> result() {
    return result;
  }

  /**
   * Ends the generation within one step. Its result is what there was until then. Harmless when it
   * is over.
   */
  public void cancel() {
    canceller.accept("cancelled by the caller");
  }

  /** Cancels the generation if it is not over. Does not wait. */
  @Override
  public void close() {
    cancel();
  }

  private void claimReader() {
    lock.lock();
    try {
      if (readerClaimed) {
        throw new IllegalStateException(
            "generation: read already (expected: one iterator or one onChunk)");
      }
      readerClaimed = true;
      // What came while nobody was there to read is not held against the reader.
      mostUnreadBytes = unreadBytes + maxUnreadBytes;
    } finally {
      lock.unlock();
    }
  }

  private void pump(Consumer<? super Chunk> consumer) {
    try {
      Chunk chunk;
      while ((chunk = takeUnlessFailed()) != null) {
        consumer.accept(chunk);
      }
    } catch (Throwable e) {
      LOG.warn("a consumer of chunks threw; its generation is cancelled", e);
      cancel();
    } finally {
      endPump();
    }
  }

  private @Nullable Chunk takeUnlessFailed() {
    try {
      return take();
    } catch (SluiceException e) {
      return null; // the engine failed; the result says so
    }
  }

  private void endPump() {
    boolean complete;
    lock.lock();
    try {
      pumping = false;
      complete = over;
    } finally {
      lock.unlock();
    }
    if (complete) {
      complete();
    }
  }

  /** The next chunk, or null at the end. */
  private @Nullable Chunk take() {
    lock.lock();
    try {
      AlternativeOutput.Piece piece;
      while ((piece = unread.poll()) == null) {
        if (over) {
          if (failure != null) {
            throw failure;
          }
          return null;
        }
        changed.await();
      }
      unreadBytes -= piece.owner.unreadBytes();
      piece.owner.read(piece);
      unreadBytes += piece.owner.unreadBytes();
      return piece.chunk();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } finally {
      lock.unlock();
    }
    // Not under the lock: an engine that is being closed may write to this while it is asked.
    cancel();
    return null;
  }

  /** Adds a token whose text is not certain yet. */
  void add(int index, int token, @Nullable TokenLogprob logprob) {
    lock.lock();
    try {
      if (over) {
        return; // another alternative failed
      }
      AlternativeOutput alternative = alternatives.get(index);
      alternative.tokens.add(token);
      if (logprob != null) {
        alternative.logprobs.add(logprob);
      }
    } finally {
      lock.unlock();
    }
  }

  /**
   * Hands text out, together with all tokens of the alternative added so far.
   *
   * @param kind ANSWER or REASONING
   * @param more the text; empty to hand out tokens that have none
   */
  void publish(int index, ChunkKind kind, String more) {
    boolean lags;
    lock.lock();
    try {
      AlternativeOutput alternative = alternatives.get(index);
      if (over || more.isEmpty() && !alternative.hasTokensToPublish()) {
        return;
      }
      long before = alternative.unreadBytes();
      lags = published(alternative, before, alternative.publish(kind, more));
    } finally {
      lock.unlock();
    }
    cancelIf(lags);
  }

  /** Begins a call of a tool. */
  void beginCall(int index, int call, String id, String name) {
    boolean lags;
    lock.lock();
    try {
      if (over) {
        return;
      }
      AlternativeOutput alternative = alternatives.get(index);
      long before = alternative.unreadBytes();
      lags = published(alternative, before, alternative.beginCall(call, id, name));
    } finally {
      lock.unlock();
    }
    cancelIf(lags);
  }

  /** Hands more of the arguments of the call begun last out, as text. */
  void continueCall(int index, int call, String more) {
    boolean lags;
    lock.lock();
    try {
      if (over) {
        return;
      }
      AlternativeOutput alternative = alternatives.get(index);
      long before = alternative.unreadBytes();
      lags = published(alternative, before, alternative.continueCall(call, more));
    } finally {
      lock.unlock();
    }
    cancelIf(lags);
  }

  /** Takes a call that turned out whole. */
  void completeCall(int index, ToolCall call) {
    lock.lock();
    try {
      alternatives.get(index).toolCalls.add(call);
    } finally {
      lock.unlock();
    }
  }

  /** Whether the reader has just begun to lag too much. */
  private boolean published(
      AlternativeOutput alternative, long before, AlternativeOutput.@Nullable Piece begun) {
    if (begun != null) {
      unread.add(begun);
    }
    unreadBytes += alternative.unreadBytes() - before;
    changed.signalAll();
    boolean lags = unreadBytes > mostUnreadBytes && !lagging;
    lagging |= lags;
    return lags;
  }

  private void cancelIf(boolean lags) {
    if (lags) {
      canceller.accept(
          "reader: more than " + maxUnreadBytes + " bytes unread (expected: at most the engine's"
              + " maxUnreadBytes; read faster, raise it, or wait for the result alone)");
    }
  }

  /**
   * Ends one alternative; the generation is over with the last.
   *
   * @param outcomeOf makes its result of what it said
   */
  void finish(int index, ResultOf outcomeOf) {
    boolean ended = false;
    lock.lock();
    try {
      AlternativeOutput alternative = alternatives.get(index);
      if (over || alternative.outcome != null) {
        return;
      }
      alternative.outcome = outcomeOf.make(alternative);
      if (--numOpen == 0) {
        List<GenerationResult> all = new ArrayList<>(alternatives.size());
        alternatives.forEach(each -> all.add(Objects.requireNonNull(each.outcome)));
        outcome =
            all.size() == 1 ? all.get(0) : all.get(0).withAlternatives(all.subList(1, all.size()));
        ended = true;
      }
    } finally {
      lock.unlock();
    }
    if (ended) {
      end();
    }
  }

  /** Ends it before anything was submitted. */
  void finish(GenerationResult whole) {
    lock.lock();
    try {
      outcome = whole;
    } finally {
      lock.unlock();
    }
    end();
  }

  /** Ends it, with all its alternatives, because one failed. */
  void fail(SluiceException cause) {
    boolean othersOpen;
    lock.lock();
    try {
      if (over) {
        return;
      }
      failure = cause;
      othersOpen = numOpen > 1;
    } finally {
      lock.unlock();
    }
    end();
    if (othersOpen) {
      canceller.accept("another alternative of the request failed");
    }
  }

  private void end() {
    boolean complete;
    lock.lock();
    try {
      over = true;
      complete = !pumping;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
    if (complete) {
      try {
        results.execute(this::complete);
      } catch (RejectedExecutionException e) {
        // The engine is closed, so this is no thread of its scheduler.
        complete();
      } catch (Throwable e) {
        LOG.warn("no thread to complete a result on; it is completed where it was made", e);
        complete();
      }
    }
  }

  private void complete() {
    SluiceException cause;
    GenerationResult value;
    lock.lock();
    try {
      cause = failure;
      value = outcome;
    } finally {
      lock.unlock();
    }
    completing = true;
    if (cause != null) {
      result.completeExceptionally(cause);
    } else {
      result.complete(value);
    }
  }

  /** The result if the generation is over, else null; does not wait for readers. */
  @Nullable GenerationResult outcomeNow() {
    lock.lock();
    try {
      return outcome;
    } finally {
      lock.unlock();
    }
  }

  /** Makes the result of an alternative. */
  interface ResultOf {
    GenerationResult make(AlternativeOutput said);
  }

  /**
   * Completing a CompletableFuture from outside (by cancelling it, by a timeout) stops nothing by
   * itself in the JDK.
   */
  private final class ResultFuture extends CompletableFuture<GenerationResult> {
    ResultFuture() {
      whenComplete(
          (value, cause) -> {
            if (!completing) {
              Generation.this.cancel();
            }
          });
    }

    @Override
    public <U> CompletableFuture<U> newIncompleteFuture() {
      return new CompletableFuture<>();
    }
  }
}

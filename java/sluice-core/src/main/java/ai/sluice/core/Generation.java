package ai.sluice.core;

import ai.sluice.api.Chunk;
import ai.sluice.api.ChunkKind;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.SluiceException;
import ai.sluice.api.TokenLogprob;
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
 * <p>A reader never holds up the engine: what it has not read yet grows into one longer chunk,
 * which is bounded because the generation's length is. A generation that nobody reads or closes
 * runs to its end and frees what it held.
 *
 * <p>{@code try (Generation g = engine.submit(request)) { for (Chunk c : g) { … } }} cancels the
 * rest when the loop is left early.
 */
public final class Generation implements AutoCloseable, Iterable<Chunk> {
  private static final Logger LOG = LoggerFactory.getLogger(Generation.class);

  private final Executor pumps;
  private final Executor results;
  private final Runnable canceller;
  private final ResultFuture result = new ResultFuture();
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();

  // Guarded by the lock.
  private final StringBuilder text = new StringBuilder();
  private final List<Integer> tokens = new ArrayList<>();
  private final List<TokenLogprob> logprobs = new ArrayList<>();
  private int publishedText;
  private int publishedTokens;
  private int readText;
  private int readTokens;
  private boolean readerClaimed;
  private boolean pumping;
  private boolean over;
  private @Nullable GenerationResult outcome;
  private @Nullable SluiceException failure;

  /**
   * Creates a generation that has produced nothing yet.
   *
   * @param pumps runs consumers of chunks, each on a thread of its own
   * @param results completes results, and so runs what users hang on them
   * @param canceller asks the engine to end it; may be called many times
   */
  Generation(Executor pumps, Executor results, Runnable canceller) {
    this.pumps = pumps;
    this.results = results;
    this.canceller = canceller;
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
   * exceptionally only if the engine failed. Cancelling the future cancels the generation. Actions
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
    canceller.run();
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
      while (readTokens == publishedTokens && readText == publishedText) {
        if (over) {
          if (failure != null) {
            throw failure;
          }
          return null;
        }
        try {
          changed.await();
        } catch (InterruptedException e) {
          Thread.currentThread().interrupt();
          cancel();
          return null;
        }
      }
      Chunk chunk =
          new Chunk(
              ChunkKind.ANSWER,
              0,
              text.substring(readText, publishedText),
              tokens.subList(readTokens, publishedTokens),
              logprobs.isEmpty() ? List.of() : logprobs.subList(readTokens, publishedTokens));
      readText = publishedText;
      readTokens = publishedTokens;
      return chunk;
    } finally {
      lock.unlock();
    }
  }

  /** Adds a token whose text is not certain yet. */
  void add(int token, @Nullable TokenLogprob logprob) {
    lock.lock();
    try {
      tokens.add(token);
      if (logprob != null) {
        logprobs.add(logprob);
      }
    } finally {
      lock.unlock();
    }
  }

  /** Hands text out, together with all tokens added so far. */
  void publish(String more) {
    lock.lock();
    try {
      text.append(more);
      publishedText = text.length();
      publishedTokens = tokens.size();
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  /** Ends it; {@code outcome} is made of the text, the tokens and the log-probabilities. */
  void finish(ResultOf outcomeOf) {
    lock.lock();
    try {
      outcome = outcomeOf.make(text.toString(), tokens, logprobs);
    } finally {
      lock.unlock();
    }
    end();
  }

  /** Ends it because the engine failed. */
  void fail(SluiceException cause) {
    lock.lock();
    try {
      failure = cause;
    } finally {
      lock.unlock();
    }
    end();
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

  /** Makes a result of what was generated. */
  interface ResultOf {
    GenerationResult make(String text, List<Integer> tokens, List<TokenLogprob> logprobs);
  }

  /** Cancelling a CompletableFuture stops nothing by itself in the JDK. */
  private final class ResultFuture extends CompletableFuture<GenerationResult> {
    @Override
    public boolean cancel(boolean mayInterruptIfRunning) {
      boolean cancelled = super.cancel(mayInterruptIfRunning);
      Generation.this.cancel();
      return cancelled;
    }

    @Override
    public <U> CompletableFuture<U> newIncompleteFuture() {
      return new CompletableFuture<>();
    }
  }
}

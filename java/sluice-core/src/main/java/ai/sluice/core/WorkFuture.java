package ai.sluice.core;

import ai.sluice.api.EngineFailedException;
import ai.sluice.api.SluiceException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.RejectedExecutionException;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The result of work that an engine does. Whoever completes it from outside ends the work: by
 * {@code cancel}, {@code orTimeout}, {@code completeOnTimeout} or any other way. The engine
 * completes it on the thread for results, so that what users hang on it never runs on the
 * scheduler's.
 */
final class WorkFuture<T> extends CompletableFuture<T> {
  private static final Logger LOG = LoggerFactory.getLogger(WorkFuture.class);

  private final Executor results;
  private volatile boolean delivered;
  private volatile Runnable canceller = () -> {};

  WorkFuture(Executor results) {
    this.results = results;
  }

  /**
   * Sets what ends the work.
   *
   * @param value asks for the end; harmless when the work is over
   */
  void canceller(Runnable value) {
    canceller = value;
    whenComplete(
        (result, failure) -> {
          if (!delivered) {
            endWork();
          }
        });
  }

  /** Asks for the end of the work; the result is then what that made of it. */
  void endWork() {
    canceller.run();
  }

  /** Completes it with a value, which is made on the thread for results. */
  void deliver(Supplier<T> value) {
    delivered = true;
    execute(
        () -> {
          try {
            complete(value.get());
          } catch (Throwable e) {
            completeExceptionally(
                new EngineFailedException(
                    "result: could not be made (expected: no failure; submit the request again): "
                        + e,
                    e));
          }
        });
  }

  /** Completes it exceptionally. */
  void fail(SluiceException cause) {
    delivered = true;
    execute(() -> completeExceptionally(cause));
  }

  /** Completes it as other work is completed. */
  void follow(WorkFuture<? extends T> other) {
    other.whenComplete(
        (value, failure) -> {
          delivered = true;
          execute(
              () -> {
                if (failure != null) {
                  completeExceptionally(failure);
                } else {
                  complete(value);
                }
              });
        });
  }

  private void execute(Runnable completion) {
    try {
      results.execute(completion);
    } catch (RejectedExecutionException e) {
      // The engine is closed, so this is no thread of its scheduler.
      completion.run();
    } catch (Throwable e) {
      LOG.warn("no thread to complete a result on; it is completed where it was made", e);
      completion.run();
    }
  }

  @Override
  public <U> CompletableFuture<U> newIncompleteFuture() {
    return new CompletableFuture<>();
  }
}

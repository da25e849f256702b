package ai.sluice.cli;

import ai.sluice.api.SluiceException;
import ai.sluice.eval.EvalException;
import ai.sluice.eval.EvalModel;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * A model that opens while data is read. Closing it abandons a load that nobody waits for any more,
 * so that a wrong path costs none.
 */
final class EvalModelOpening implements AutoCloseable {
  /** Opens a model. */
  interface Opener {
    /**
     * Opens it.
     *
     * @param abandoned says that nobody wants it any more
     */
    EvalModel open(AtomicBoolean abandoned);
  }

  private final CompletableFuture<EvalModel> model = new CompletableFuture<>();
  private final AtomicBoolean abandoned = new AtomicBoolean();

  /** Begins to open. */
  EvalModelOpening(Opener opener) {
    Thread thread =
        new Thread(
            () -> {
              try {
                model.complete(opener.open(abandoned));
              } catch (Throwable e) {
                model.completeExceptionally(e);
              }
            },
            "sluice-eval-open");
    thread.setDaemon(true);
    thread.start();
  }

  /**
   * Waits for the model, which {@link #close} closes.
   *
   * @throws RuntimeException as opening did
   */
  EvalModel get() {
    try {
      return model.join();
    } catch (CompletionException e) {
      Throwable cause = e.getCause();
      if (cause instanceof SluiceException || cause instanceof EvalException) {
        throw (RuntimeException) cause;
      }
      throw e;
    }
  }

  @Override
  public void close() {
    abandoned.set(true);
    try {
      model.join().close();
    } catch (CompletionException e) {
      // Told by get, or of no interest beside what made everyone turn away.
    }
  }
}

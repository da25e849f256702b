package ai.sluice.openai.batch;

import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.ScoreRequest;
import ai.sluice.api.ScoreResult;
import ai.sluice.core.Engine;
import java.util.concurrent.CompletableFuture;

/** What answers the requests of a batch; a batch may have several. Thread-safe. */
public interface BatchEngine {
  /**
   * Starts a generation. Cancelling the future cancels the work.
   *
   * @throws ai.sluice.api.SluiceException as {@link Engine#submit}
   */
  CompletableFuture<GenerationResult> submit(GenerationRequest request);

  /**
   * Starts to score. Cancelling the future cancels the work.
   *
   * @throws ai.sluice.api.SluiceException as {@link Engine#submit}
   */
  CompletableFuture<ScoreResult> submit(ScoreRequest request);

  /** Sequences that are worth having open at once. */
  int window();

  /**
   * An engine of the library.
   *
   * @param window sequences open at once; more than the engine computes at once keeps it busy
   */
  static BatchEngine of(Engine engine, int window) {
    return new BatchEngine() {
      @Override
      public CompletableFuture<GenerationResult> submit(GenerationRequest request) {
        return engine.submit(request).result();
      }

      @Override
      public CompletableFuture<ScoreResult> submit(ScoreRequest request) {
        return engine.submit(request);
      }

      @Override
      public int window() {
        return window;
      }
    };
  }
}

package ai.sluice.core;

import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationOutcome;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.SluiceException;
import ai.sluice.api.Timings;
import ai.sluice.api.Usage;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.function.Function;

/** Runs many requests, as many at once as an engine's queue takes, each with its own outcome. */
final class RequestBatch {
  private static final long RETRY_MILLIS = 10;

  private final Function<GenerationRequest, Generation> submit;
  private final int window;
  private final GenerationOutcome[] outcomes;
  private final ArrayDeque<Open> open = new ArrayDeque<>();
  private boolean interrupted;

  private record Open(int index, Generation generation) {}

  private RequestBatch(Function<GenerationRequest, Generation> submit, int window, int size) {
    this.submit = submit;
    this.window = window;
    outcomes = new GenerationOutcome[size];
  }

  /**
   * Runs requests.
   *
   * @param requests in any number
   * @param submit takes one request
   * @param window most requests open at once
   * @return an outcome for each, in their order
   */
  static List<GenerationOutcome> run(
      List<GenerationRequest> requests,
      Function<GenerationRequest, Generation> submit,
      int window) {
    RequestBatch batch = new RequestBatch(submit, window, requests.size());
    try {
      for (int i = 0; i < requests.size(); i++) {
        if (batch.open.size() >= window) {
          batch.awaitOldest();
        }
        batch.start(i, requests.get(i));
      }
      while (!batch.open.isEmpty()) {
        batch.awaitOldest();
      }
    } finally {
      // Empty unless something was thrown: nobody would read the rest.
      batch.open.forEach(o -> o.generation().cancel());
      if (batch.interrupted) {
        Thread.currentThread().interrupt();
      }
    }
    return new ArrayList<>(List.of(batch.outcomes));
  }

  private void start(int index, GenerationRequest request) {
    while (true) {
      if (interrupted) {
        outcomes[index] = GenerationOutcome.of(neverSubmitted(request));
        return;
      }
      try {
        Generation generation = submit.apply(request);
        if (!isRejected(generation)) {
          open.add(new Open(index, generation));
          return;
        }
      } catch (SluiceException e) {
        outcomes[index] = GenerationOutcome.of(e);
        return;
      }
      // Other callers filled the queue. Ours must not be lost for it.
      if (open.isEmpty()) {
        pause();
      } else {
        awaitOldest();
      }
    }
  }

  private static GenerationResult neverSubmitted(GenerationRequest request) {
    return new GenerationResult(
        "",
        List.of(),
        List.of(),
        FinishReason.CANCELLED,
        "interrupted before it was submitted",
        request.seed().orElse(0),
        new Usage(0, 0, 0),
        new Timings(0, 0, 0, 0));
  }

  private static boolean isRejected(Generation generation) {
    GenerationResult result = generation.outcomeNow();
    return result != null && result.finishReason() == FinishReason.REJECTED;
  }

  private void pause() {
    try {
      Thread.sleep(RETRY_MILLIS);
    } catch (InterruptedException e) {
      interrupt();
    }
  }

  private void awaitOldest() {
    Open oldest = open.remove();
    while (true) {
      try {
        outcomes[oldest.index()] = GenerationOutcome.of(oldest.generation().result().get());
        return;
      } catch (InterruptedException e) {
        oldest.generation().cancel();
        interrupt();
      } catch (ExecutionException e) {
        if (e.getCause() instanceof SluiceException cause) {
          outcomes[oldest.index()] = GenerationOutcome.of(cause);
          return;
        }
        throw new IllegalStateException("generation: failed (a defect of Sluice)", e);
      }
    }
  }

  /** An interrupt cancels what is open and what is still to come. */
  private void interrupt() {
    interrupted = true;
    open.forEach(o -> o.generation().cancel());
  }
}

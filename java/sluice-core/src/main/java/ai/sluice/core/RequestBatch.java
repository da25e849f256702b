package ai.sluice.core;

import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationOutcome;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ScoreOutcome;
import ai.sluice.api.ScoreRequest;
import ai.sluice.api.ScoreResult;
import ai.sluice.api.SluiceException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Runs many requests, as many at once as an engine's queue takes, each with its own outcome.
 *
 * @param <Q> requests
 * @param <R> results
 * @param <O> outcomes
 */
final class RequestBatch<Q, R, O> {
  private static final long RETRY_MILLIS = 10;
  private static final String NEVER_SUBMITTED = "interrupted before it was submitted";

  private final Function<Q, Work<R>> submit;
  private final Function<Q, R> neverSubmitted;
  private final Function<R, O> done;
  private final Function<SluiceException, O> failed;
  private final int window;
  private final List<@Nullable O> outcomes = new ArrayList<>();
  private final ArrayDeque<Open<R>> open = new ArrayDeque<>();
  private boolean interrupted;

  /**
   * One request's work.
   *
   * @param result completes when it is over, however it was ended
   * @param end asks for its end
   */
  private record Work<R>(CompletableFuture<R> result, Runnable end) {}

  private record Open<R>(int index, Work<R> work) {}

  private RequestBatch(
      Function<Q, Work<R>> submit,
      Function<Q, R> neverSubmitted,
      Function<R, O> done,
      Function<SluiceException, O> failed,
      int window) {
    this.submit = submit;
    this.neverSubmitted = neverSubmitted;
    this.done = done;
    this.failed = failed;
    this.window = window;
  }

  /**
   * Runs generations.
   *
   * @param requests in any number
   * @param submit takes one request, or throws {@link QueueFullException}
   * @param window most requests open at once
   * @return an outcome for each, in their order
   */
  static List<GenerationOutcome> generations(
      List<GenerationRequest> requests,
      Function<GenerationRequest, Generation> submit,
      int window) {
    return new RequestBatch<GenerationRequest, GenerationResult, GenerationOutcome>(
            request -> {
              Generation generation = submit.apply(request);
              return new Work<>(generation.result(), generation::cancel);
            },
            request ->
                Unstarted.generation(
                    FinishReason.CANCELLED, NEVER_SUBMITTED, request.seed().orElse(0)),
            GenerationOutcome::of,
            GenerationOutcome::of,
            window)
        .run(requests);
  }

  /** Runs score requests, as {@link #generations}. */
  static List<ScoreOutcome> scores(
      List<ScoreRequest> requests,
      Function<ScoreRequest, WorkFuture<ScoreResult>> submit,
      int window) {
    return new RequestBatch<ScoreRequest, ScoreResult, ScoreOutcome>(
            request -> {
              WorkFuture<ScoreResult> future = submit.apply(request);
              return new Work<>(future, future::endWork);
            },
            request -> Unstarted.score(FinishReason.CANCELLED, NEVER_SUBMITTED),
            ScoreOutcome::of,
            ScoreOutcome::of,
            window)
        .run(requests);
  }

  private List<O> run(List<Q> requests) {
    if (requests == null) {
      throw new InvalidRequestException("requests: null (expected: a list of requests)");
    }
    for (int i = 0; i < requests.size(); i++) {
      outcomes.add(null);
    }
    try {
      for (int i = 0; i < requests.size(); i++) {
        if (open.size() >= window) {
          awaitOldest();
        }
        start(i, requests.get(i));
      }
      while (!open.isEmpty()) {
        awaitOldest();
      }
    } finally {
      // Empty unless something was thrown: nobody would read the rest.
      open.forEach(o -> o.work().end().run());
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
    List<O> all = new ArrayList<>(outcomes.size());
    for (O outcome : outcomes) {
      all.add(Objects.requireNonNull(outcome));
    }
    return all;
  }

  private void start(int index, Q request) {
    while (true) {
      if (interrupted && request != null) {
        outcomes.set(index, done.apply(neverSubmitted.apply(request)));
        return;
      }
      try {
        open.add(new Open<>(index, submit.apply(request)));
        return;
      } catch (QueueFullException e) {
        // Other callers filled the queue. Ours must not be lost for it.
        if (open.isEmpty()) {
          pause();
        } else {
          awaitOldest();
        }
      } catch (SluiceException e) {
        outcomes.set(index, failed.apply(e));
        return;
      }
    }
  }

  private void pause() {
    try {
      Thread.sleep(RETRY_MILLIS);
    } catch (InterruptedException e) {
      interrupt();
    }
  }

  private void awaitOldest() {
    Open<R> oldest = open.remove();
    while (true) {
      try {
        outcomes.set(oldest.index(), done.apply(oldest.work().result().get()));
        return;
      } catch (InterruptedException e) {
        oldest.work().end().run();
        interrupt();
      } catch (ExecutionException e) {
        if (e.getCause() instanceof SluiceException cause) {
          outcomes.set(oldest.index(), failed.apply(cause));
          return;
        }
        throw new IllegalStateException("result: none (a defect of Sluice)", e);
      }
    }
  }

  /** An interrupt ends what is open and what is still to come. */
  private void interrupt() {
    interrupted = true;
    open.forEach(o -> o.work().end().run());
  }
}

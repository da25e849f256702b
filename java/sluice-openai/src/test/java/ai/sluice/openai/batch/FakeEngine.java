package ai.sluice.openai.batch;

import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ScoreRequest;
import ai.sluice.api.ScoreResult;
import ai.sluice.openai.Results;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Function;

/**
 * Answers with the prompt turned around, on threads of its own and in an order that a seed
 * shuffles.
 */
final class FakeEngine implements BatchEngine, AutoCloseable {
  private final ExecutorService threads = Executors.newFixedThreadPool(3);
  private final int window;
  private final Function<GenerationRequest, GenerationResult> answers;
  private final Random random = new Random(1);
  final List<GenerationRequest> submitted = Collections.synchronizedList(new ArrayList<>());
  private int open;
  private int most;

  FakeEngine(int window) {
    this(window, request -> Results.answer(turned(request)));
  }

  FakeEngine(int window, Function<GenerationRequest, GenerationResult> answers) {
    this.window = window;
    this.answers = answers;
  }

  static String turned(GenerationRequest request) {
    return new StringBuilder(prompt(request)).reverse().toString();
  }

  static String prompt(GenerationRequest request) {
    return request.prompt().orElseGet(() -> request.messages().get(0).content().orElseThrow());
  }

  @Override
  public synchronized CompletableFuture<GenerationResult> submit(GenerationRequest request) {
    submitted.add(request);
    most = Math.max(most, ++open);
    int micros = random.nextInt(300);
    CompletableFuture<GenerationResult> future = new CompletableFuture<>();
    threads.execute(
        () -> {
          try {
            if (micros % 8 == 0) {
              Thread.sleep(0, micros * 1000);
            }
            GenerationResult result = answers.apply(request);
            synchronized (this) {
              open--;
            }
            future.complete(result);
          } catch (Throwable e) {
            future.completeExceptionally(e);
          }
        });
    return future;
  }

  @Override
  public CompletableFuture<ScoreResult> submit(ScoreRequest request) {
    throw new InvalidRequestException("score: (expected: no scores of this engine)");
  }

  @Override
  public int window() {
    return window;
  }

  /** The most requests that were open at once. */
  synchronized int most() {
    return most;
  }

  @Override
  public void close() {
    threads.shutdownNow();
  }
}

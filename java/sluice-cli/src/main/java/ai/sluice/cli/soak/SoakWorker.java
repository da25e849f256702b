package ai.sluice.cli.soak;

import ai.sluice.api.Chunk;
import ai.sluice.api.ChunkKind;
import ai.sluice.api.EngineClosedException;
import ai.sluice.api.EngineFailedException;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.ResponseFormat;
import ai.sluice.api.ScoreResult;
import ai.sluice.core.Engine;
import ai.sluice.core.Generation;
import java.time.Duration;
import java.time.temporal.ChronoUnit;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;

/** One caller of the engine: makes a request, treats it in some way, compares, again. */
final class SoakWorker implements Runnable {
  private static final int PERCENT = 100;
  private static final long REJECTED_MILLIS = 20;
  private static final int SLOWEST_READ_MILLIS = 20;
  private static final long MOST_MICROS = 2_000_000;
  private static final char REPLACEMENT = '\uFFFD';

  private final Engine engine;
  private final List<SoakCase> cases;
  private final List<SoakScore> scores;
  private final SoakTally tally;
  private final boolean exact;
  private final BooleanSupplier stopping;
  private final Runnable perRequest;
  private final Random random;
  private final int timeScale;

  /** When its request was made, in nanoseconds; 0 when it has none. */
  private volatile long pendingSince;

  /**
   * Creates a worker.
   *
   * @param settings of the soak
   * @param number of the worker, from 0
   * @param engine shared with other workers
   * @param catalog to choose from
   * @param tally counts what happens
   * @param stopping whether it is to end
   * @param perRequest run with every request
   */
  SoakWorker(
      SoakSettings settings,
      int number,
      Engine engine,
      SoakCatalog catalog,
      SoakTally tally,
      BooleanSupplier stopping,
      Runnable perRequest) {
    this.engine = engine;
    cases = catalog.cases();
    scores = catalog.scores();
    this.tally = tally;
    this.exact = settings.exact();
    this.stopping = stopping;
    this.perRequest = perRequest;
    random = new Random(settings.seed() * 31 + number);
    timeScale = settings.concurrency();
  }

  /** How long its request has been open, in nanoseconds; 0 if it has none. */
  long pendingNanos(long now) {
    long since = pendingSince;
    return since == 0 ? 0 : now - since;
  }

  @Override
  public void run() {
    while (!stopping.getAsBoolean()) {
      try {
        turn();
      } catch (InterruptedException e) {
        return;
      } catch (Throwable e) {
        tally.wrong("a request failed: " + e);
        if (engineIsGone(e)) {
          return;
        }
      } finally {
        pendingSince = 0;
      }
    }
  }

  private static boolean engineIsGone(Throwable e) {
    Throwable cause = e instanceof ExecutionException && e.getCause() != null ? e.getCause() : e;
    return cause instanceof EngineFailedException
        || cause instanceof EngineClosedException;
  }

  private void turn() throws InterruptedException, ExecutionException {
    SoakCase one = cases.get(random.nextInt(cases.size()));
    GenerationRequest.Builder request =
        one.request().toBuilder()
            .priority(random.nextInt(3) - 1)
            .cacheSalt(random.nextInt(4) == 0 ? "another tenant" : "")
            .speculation(random.nextBoolean());
    perRequest.run();
    pendingSince = System.nanoTime();
    int dice = random.nextInt(PERCENT);
    // The shares of the ways add up to 100.
    if (dice < 20) {
      cancelled(one, request);
    } else if (dice < 30) {
      timedOut(one, request);
    } else if (dice < 40 && one.request().responseFormat() instanceof ResponseFormat.Text) {
      // A token that a format needs cannot stop it too.
      stopped(one, request);
    } else if (dice < 48) {
      read(one, request, SLOWEST_READ_MILLIS);
    } else if (dice < 60) {
      read(one, request, 0);
    } else if (dice < 72) {
      handed(one, request);
    } else if (dice < 80 && !scores.isEmpty()) {
      scored();
    } else {
      tally.count("whole");
      try (Generation generation = engine.submit(request.build())) {
        check(one, generation.result().get(), false);
      }
    }
  }

  private void cancelled(SoakCase one, GenerationRequest.Builder request)
      throws InterruptedException, ExecutionException {
    tally.count("cancelled");
    try (Generation generation = engine.submit(request.build())) {
      switch (random.nextInt(4)) {
        case 0 -> generation.cancel();
        case 1 -> TimeUnit.MICROSECONDS.sleep(someMicros(one));
        case 2 -> {
          int chunks = random.nextInt(4);
          for (Chunk chunk : generation) {
            if (chunks-- == 0) {
              break;
            }
          }
        }
        default -> {
          generation.result().cancel(true);
          return; // Its result is that it was cancelled.
        }
      }
      generation.cancel();
      generation.cancel();
      check(one, generation.result().get(), true);
    }
  }

  private void timedOut(SoakCase one, GenerationRequest.Builder request)
      throws InterruptedException, ExecutionException {
    tally.count("timed out");
    Duration limit = Duration.of(someMicros(one), ChronoUnit.MICROS);
    switch (random.nextInt(3)) {
      case 0 -> request.queueTimeout(limit);
      case 1 -> request.firstTokenTimeout(limit);
      default -> request.timeout(limit);
    }
    try (Generation generation = engine.submit(request.build())) {
      check(one, generation.result().get(), true);
    }
  }

  /** Some time in which it may have been done, whatever runs beside it. */
  private long someMicros(SoakCase one) {
    long most = one.reference().timings().totalMicros() * timeScale;
    return 1 + (long) (random.nextDouble() * Math.min(MOST_MICROS, Math.max(1000, most)));
  }

  /** Ends it by a text, or by a token, that is known to come. */
  private void stopped(SoakCase one, GenerationRequest.Builder request)
      throws InterruptedException, ExecutionException {
    tally.count("stopped");
    GenerationResult reference = one.reference();
    String text = reference.text();
    boolean byText = random.nextBoolean() && text.length() > 2 && one.request().stop().isEmpty();
    List<Integer> tokens = reference.tokens();
    int token = tokens.get(random.nextInt(tokens.size()));
    String stop = "";
    if (byText) {
      int begin = random.nextInt(text.length() - 1);
      stop = text.substring(begin, Math.min(text.length(), begin + 1 + random.nextInt(3)));
      byText = stop.chars().noneMatch(c -> c == REPLACEMENT || Character.isSurrogate((char) c));
    }
    if (byText) {
      request.stop(stop);
    } else {
      request.stopTokenIds(token);
    }
    try (Generation generation = engine.submit(request.build())) {
      GenerationResult result = generation.result().get();
      if (wasRejected(result)) {
        return;
      }
      boolean right =
          result.finishReason() == FinishReason.STOP
              && (byText
                  ? result.text().equals(text.substring(0, text.indexOf(stop)))
                  : result.tokens().equals(tokens.subList(0, tokens.indexOf(token) + 1)));
      if (!right) {
        report(
            one.name() + " until " + (byText ? "\"" + stop + "\"" : "token " + token) + ": "
                + result.finishReason() + ", tokens " + result.tokens() + ", text "
                + result.text() + " (expected: up to it, of tokens " + tokens + ", text " + text
                + ")");
      }
    }
  }

  /** Reads chunk by chunk; what was read together is the result. */
  private void read(SoakCase one, GenerationRequest.Builder request, int slowestMillis)
      throws InterruptedException, ExecutionException {
    tally.count(slowestMillis > 0 ? "read slowly" : "read");
    StringBuilder text = new StringBuilder();
    try (Generation generation = engine.submit(request.build())) {
      for (Chunk chunk : generation) {
        take(chunk, text);
        if (slowestMillis > 0) {
          Thread.sleep(random.nextInt(slowestMillis));
        }
      }
      checkRead(one, generation.result().get(), text.toString(), slowestMillis > 0);
    }
  }

  private void handed(SoakCase one, GenerationRequest.Builder request)
      throws InterruptedException, ExecutionException {
    tally.count("handed");
    StringBuilder text = new StringBuilder();
    try (Generation generation =
        engine.submit(request.build()).onChunk(chunk -> take(chunk, text))) {
      checkRead(one, generation.result().get(), text.toString(), false);
    }
  }

  private void scored() throws InterruptedException, ExecutionException {
    tally.count("scored");
    SoakScore one = scores.get(random.nextInt(scores.size()));
    ScoreResult result =
        engine.submit(one.request(random.nextInt(4) == 0 ? "another tenant" : "")).get();
    if (result.finishReason() == FinishReason.REJECTED) {
      Thread.sleep(REJECTED_MILLIS);
    } else if (!result.scores().equals(one.reference())) {
      report(
          "scores: " + result.finishReason() + " " + result.detail() + result.scores()
              + " (expected: " + one.reference() + ")");
    }
  }

  private static void take(Chunk chunk, StringBuilder text) {
    if (chunk.kind() == ChunkKind.ANSWER && chunk.index() == 0) {
      text.append(chunk.text());
    }
  }

  private void checkRead(SoakCase one, GenerationResult result, String text, boolean mayBeCut)
      throws InterruptedException {
    check(one, result, mayBeCut);
    if (!text.equals(result.text())) {
      tally.wrong(one.name() + ": chunks " + text + " (expected: " + result.text() + ")");
    }
  }

  private void check(SoakCase one, GenerationResult result, boolean mayBeCut)
      throws InterruptedException {
    if (wasRejected(result)) {
      return;
    }
    String difference = one.difference(result, mayBeCut);
    if (!difference.isEmpty()) {
      report(difference);
    }
  }

  /** A full queue is no mistake; to ask again at once would be. */
  private boolean wasRejected(GenerationResult result) throws InterruptedException {
    if (result.finishReason() != FinishReason.REJECTED) {
      return false;
    }
    Thread.sleep(REJECTED_MILLIS);
    return true;
  }

  private void report(String difference) {
    if (exact) {
      tally.wrong(difference);
    } else {
      tally.different();
    }
  }
}

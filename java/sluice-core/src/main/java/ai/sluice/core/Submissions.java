package ai.sluice.core;

import ai.sluice.api.ClassificationRequest;
import ai.sluice.api.ClassificationResult;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ScoreRequest;
import ai.sluice.api.ScoreResult;
import ai.sluice.core.scheduler.EngineLoop;
import ai.sluice.core.scheduler.HeadChoice;
import ai.sluice.core.scheduler.SchedulerCounters;
import ai.sluice.core.scheduler.Sequence;
import ai.sluice.text.Tokenizer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * The way from a request to sequences that the scheduler knows: a place in the queue, tokens, a
 * plan. Thread-safe.
 */
final class Submissions implements BatchTarget {
  private static final String BY_THE_CALLER = "cancelled by the caller";

  private final EngineLoop loop;
  private final RequestPlanner planner;
  private final ScoreEncoder scoreEncoder;
  private final ScorePlanner scorePlanner;
  private final @Nullable Tokenizer tokenizer;
  private final AdmissionQueue queue;
  private final SchedulerCounters counters;
  private final ExecutorService pumps;
  private final ExecutorService results;
  private final int maxUnreadBytes;
  private final LongSupplier clock;
  private final Runnable engineOpen;

  /**
   * Creates the way into one engine.
   *
   * @param tokenizer the model's, or null where there is none
   * @param maxUnreadBytes by how much readers of chunks may lag
   * @param clock nanoseconds, the clock of the loop
   * @param engineOpen throws unless the engine takes requests
   */
  Submissions(
      EngineLoop loop,
      RequestPlanner planner,
      ScoreEncoder scoreEncoder,
      ScorePlanner scorePlanner,
      @Nullable Tokenizer tokenizer,
      AdmissionQueue queue,
      SchedulerCounters counters,
      ExecutorService pumps,
      ExecutorService results,
      int maxUnreadBytes,
      LongSupplier clock,
      Runnable engineOpen) {
    this.engineOpen = engineOpen;
    this.loop = loop;
    this.planner = planner;
    this.scoreEncoder = scoreEncoder;
    this.scorePlanner = scorePlanner;
    this.tokenizer = tokenizer;
    this.queue = queue;
    this.counters = counters;
    this.pumps = pumps;
    this.results = results;
    this.maxUnreadBytes = maxUnreadBytes;
    this.clock = clock;
  }

  AdmissionQueue queue() {
    return queue;
  }

  @Override
  public void requireOpen() {
    engineOpen.run();
  }

  @Override
  public long now() {
    return clock.getAsLong();
  }

  @Override
  public int[] encode(ClassificationRequest request) {
    requireGiven(request);
    return planner.encode(request.input());
  }

  @Override
  public ScoreEncoder.Encoded encode(ScoreRequest request) {
    requireGiven(request);
    return scoreEncoder.encode(request);
  }

  @Override
  public void countRejected() {
    counters.finished(FinishReason.REJECTED).incrementAndGet();
  }

  private static void requireGiven(@Nullable Object request) {
    if (request == null) {
      throw new InvalidRequestException("request: null (expected: a request)");
    }
  }

  /** A generation that is over and says REJECTED. */
  Generation rejected(GenerationRequest request, QueueFullException full) {
    countRejected();
    Generation generation = new Generation(pumps, results, 1, maxUnreadBytes, detail -> {});
    generation.finish(
        Unstarted.generation(FinishReason.REJECTED, full.why(), request.seed().orElse(0)));
    return generation;
  }

  /**
   * Starts a generation.
   *
   * @throws QueueFullException if it cannot wait
   */
  Generation generate(GenerationRequest request) {
    requireGiven(request);
    long submitted = now();
    QueuePlace place = queue.enter(request.n());
    List<QueuePlace> split = new ArrayList<>();
    for (int i = 1; i < request.n(); i++) {
      split.add(place.split());
    }
    try {
      HeadChoice head = planner.heads().forTokens(request.head());
      int[] prompt = planner.encode(request);
      place.count(prompt.length);
      AtomicReference<List<Sequence>> sequences = new AtomicReference<>();
      Generation generation =
          new Generation(
              pumps,
              results,
              request.n(),
              maxUnreadBytes,
              detail -> loop.cancelAll(sequences.get(), detail));
      sequences.set(
          planner.plan(
              request,
              prompt,
              head,
              submitted,
              facts ->
                  new GenerationSink(
                      generation,
                      facts.index(),
                      facts.output(),
                      request.stop(),
                      facts.topN(),
                      facts.promptTokens(),
                      facts.seed(),
                      facts.index() == 0 ? place : split.get(facts.index() - 1))));
      loop.addAll(sequences.get());
      return generation;
    } catch (Throwable e) {
      place.leave();
      split.forEach(QueuePlace::leave);
      throw e;
    }
  }

  /**
   * Starts a classification.
   *
   * @throws QueueFullException if it cannot wait
   */
  WorkFuture<ClassificationResult> classify(ClassificationRequest request) {
    requireGiven(request);
    long submitted = now();
    return classify(request, submitted, () -> encode(request));
  }

  @Override
  public WorkFuture<ClassificationResult> classify(
      ClassificationRequest request, int[] prompt, long submitted) {
    return classify(request, submitted, () -> prompt);
  }

  private WorkFuture<ClassificationResult> classify(
      ClassificationRequest request, long submitted, Supplier<int[]> encoder) {
    QueuePlace place = queue.enter(1);
    try {
      // Before the text is looked at: without the head it does not matter.
      HeadChoice head = planner.heads().forValues(request.head());
      int[] prompt = encoder.get();
      place.count(prompt.length);
      WorkFuture<ClassificationResult> future = new WorkFuture<>(results);
      Sequence sequence =
          planner
              .plan(
                  request.input(),
                  prompt,
                  head,
                  submitted,
                  facts ->
                      new ClassificationSink(
                          future, facts.promptTokens(), head.numValues(), place))
              .get(0);
      future.canceller(() -> loop.cancel(sequence, BY_THE_CALLER));
      loop.add(sequence);
      return future;
    } catch (Throwable e) {
      place.leave();
      throw e;
    }
  }

  /**
   * Starts to score.
   *
   * @throws QueueFullException if it cannot wait
   */
  WorkFuture<ScoreResult> score(ScoreRequest request) {
    requireGiven(request);
    long submitted = now();
    return score(request, submitted, () -> encode(request));
  }

  @Override
  public WorkFuture<ScoreResult> score(
      ScoreRequest request, ScoreEncoder.Encoded encoded, long submitted) {
    return score(request, submitted, () -> encoded);
  }

  private WorkFuture<ScoreResult> score(
      ScoreRequest request, long submitted, Supplier<ScoreEncoder.Encoded> encoder) {
    QueuePlace place = queue.enter(1);
    try {
      planner.heads().forTokens(request.head());
      ScoreEncoder.Encoded encoded = encoder.get();
      place.count(encoded.promptTokens());
      WorkFuture<ScoreResult> future = new WorkFuture<>(results);
      AtomicReference<List<Sequence>> sequences = new AtomicReference<>();
      ScoreJob job =
          new ScoreJob(
              future,
              tokenizer,
              place,
              encoded.continuations(),
              request.logprobs(),
              () -> loop.cancelAll(sequences.get(), "another of its sequences ended"));
      sequences.set(scorePlanner.plan(request, encoded, submitted, job::sink));
      future.canceller(() -> loop.cancelAll(sequences.get(), BY_THE_CALLER));
      loop.addAll(sequences.get());
      return future;
    } catch (Throwable e) {
      place.leave();
      throw e;
    }
  }
}

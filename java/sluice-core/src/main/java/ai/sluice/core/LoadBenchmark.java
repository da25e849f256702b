package ai.sluice.core;

import ai.sluice.api.EngineOptions;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ModelInfo;
import ai.sluice.api.Timings;
import ai.sluice.checkpoint.Checkpoint;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Measures a model under steady load: so many requests are open all the time, and whenever one ends
 * the next one comes. Prompts are random tokens, answers greedy and of one length. Requests to warm
 * up, as many as are open, come first and do not count; they are of different lengths, so that
 * prompts are computed at different times, as they are when callers do not wait for each other.
 * After the last measured request has begun others keep the load up until it ends.
 */
public final class LoadBenchmark {
  private static final int MAX_TOKENS = 1 << 20;
  private static final int MAX_REQUESTS = 1_000_000;
  private static final int MAX_CONCURRENCY = 4096;
  private static final int LOOK_MILLIS = 20;
  private static final double MICROS_PER_MILLI = 1e3;
  private static final double NANOS_PER_SECOND = 1e9;

  private final Engine engine;
  private final Plan plan;
  private final Listener listener;
  private final RandomPrompts prompts;

  private LoadBenchmark(Engine engine, Plan plan, Listener listener) {
    this.engine = engine;
    this.plan = plan;
    this.listener = listener;
    prompts = new RandomPrompts(engine);
  }

  /**
   * What to measure.
   *
   * @param concurrency numbers of requests that are open at once, each 1 to 4096: a level each
   * @param promptTokens tokens of every prompt, 1 or more
   * @param newTokens tokens of every answer, 2 or more
   * @param requests of each level that are measured, 1 or more; empty: twice as many as are open,
   *     at least 16
   * @throws InvalidRequestException if a number is out of range
   */
  public record Plan(
      List<Integer> concurrency, int promptTokens, int newTokens, Optional<Integer> requests) {
    /** Checks the numbers. */
    public Plan {
      concurrency = List.copyOf(concurrency);
      if (concurrency.isEmpty()) {
        throw new InvalidRequestException("concurrency: none (expected: at least one number)");
      }
      concurrency.forEach(n -> require("concurrency", n, 1, MAX_CONCURRENCY));
      require("prompt tokens", promptTokens, 1, MAX_TOKENS);
      require("new tokens", newTokens, 2, MAX_TOKENS);
      requests.ifPresent(n -> require("requests", n, 1, MAX_REQUESTS));
    }

    /** Requests that are measured of a level. */
    public int requestsAt(int level) {
      return requests.orElse(Math.max(16, 2 * level));
    }

    private static void require(String name, int value, int least, int most) {
      if (value < least || value > most) {
        throw new InvalidRequestException(
            name + ": " + value + " (expected: " + least + " to " + most + ")");
      }
    }
  }

  /** Is told, by the thread that measures, how far it is. */
  public interface Listener {
    /** The model is open. */
    default void opened(ModelInfo model) {}

    /** A level begins with its requests to warm up. */
    default void levelBegins(int concurrency) {}

    /** The first measured request of a level is about to be sent. */
    default void measuringBegins() {}

    /** The last measured request of a level has ended. */
    default void measuringEnds() {}
  }

  /**
   * One level, with a number for each measured request.
   *
   * @param concurrency requests open at once
   * @param warmUp requests before the measured ones
   * @param seconds from the first measured request's start to the last one's end
   * @param firstTokenMillis from a request's start to its first token, waiting included
   * @param perTokenMillis from its first to its last token, for each token after the first
   * @param tokens new tokens of all requests in {@code seconds}, those not measured too
   * @param kvBlocks most KV blocks that were seen in use; 0 if none were seen
   */
  public record Level(
      int concurrency,
      int warmUp,
      double seconds,
      List<Double> firstTokenMillis,
      List<Double> perTokenMillis,
      long tokens,
      long kvBlocks) {
    /** Copies the lists. */
    public Level {
      firstTokenMillis = List.copyOf(firstTokenMillis);
      perTokenMillis = List.copyOf(perTokenMillis);
    }
  }

  /**
   * What was measured.
   *
   * @param model as it ran
   * @param levels in the order of the plan
   */
  public record Report(ModelInfo model, List<Level> levels) {
    /** Copies the list. */
    public Report {
      levels = List.copyOf(levels);
    }
  }

  /**
   * Opens a model and measures it.
   *
   * @param options the model, and how to run it; the context length, unless set, is what the
   *     requests need, and as many sequences run as are open, without a prefix cache
   * @throws ai.sluice.api.SluiceException as {@link Engine#open}
   */
  public static Report run(EngineOptions options, Plan plan, Listener listener) {
    try (Engine engine = EngineOpening.open(sized(options, plan))) {
      return new LoadBenchmark(engine, plan, listener).measure();
    }
  }

  /**
   * The same of a model with random weights, as {@link Benchmark#runShape}.
   *
   * @throws InvalidRequestException if there is no such shape
   * @throws ai.sluice.api.SluiceException as {@link Engine#open}
   */
  public static Report runShape(
      EngineOptions options, String shape, Plan plan, Listener listener) {
    Checkpoint random = Checkpoint.random(shape);
    try (Engine engine = EngineOpening.open(sized(options, plan), () -> random)) {
      return new LoadBenchmark(engine, plan, listener).measure();
    }
  }

  private static EngineOptions sized(EngineOptions options, Plan plan) {
    int most = plan.concurrency().stream().mapToInt(Integer::intValue).max().orElseThrow();
    EngineOptions.Builder builder = options.toBuilder().maxSequences(most).prefixCache(false);
    if (options.maxContextLength().isEmpty()) {
      builder.maxContextLength(plan.promptTokens() + plan.newTokens());
    }
    return builder.build();
  }

  private Report measure() {
    listener.opened(engine.modelInfo());
    List<Level> levels = new ArrayList<>();
    for (int concurrency : plan.concurrency()) {
      listener.levelBegins(concurrency);
      levels.add(new Load(concurrency).run());
    }
    return new Report(engine.modelInfo(), levels);
  }

  /** A request and when its tokens came. */
  private static final class Call {
    final boolean measured;
    final TokenArrivals arrivals = new TokenArrivals();
    final Generation generation;
    final long start;

    Call(Engine engine, GenerationRequest request, boolean measured, Runnable firstToken) {
      this.measured = measured;
      start = System.nanoTime();
      generation = engine.submit(request);
      generation.onChunk(
          chunk -> {
            boolean first = arrivals.count() == 0;
            arrivals.add(chunk);
            if (first) {
              firstToken.run();
            }
          });
    }

    /** Where the time of an ended one went. */
    Timings timings() {
      return generation.result().join().timings();
    }
  }

  /** One level. */
  private final class Load {
    private final int concurrency;
    private final int requests;
    private final List<Call> calls = new ArrayList<>();
    private final BlockingQueue<Call> ended = new LinkedBlockingQueue<>();
    private final AtomicLong kvBlocks = new AtomicLong();

    Load(int concurrency) {
      this.concurrency = concurrency;
      requests = plan.requestsAt(concurrency);
    }

    Level run() {
      try {
        for (int i = 0; i < concurrency; i++) {
          // From one share of the usual length to the whole.
          submit(Math.max(2, (int) ((long) plan.newTokens() * (i + 1) / concurrency)));
        }
        int left = requests;
        long end = 0;
        while (left > 0) {
          Call call = ended.poll(LOOK_MILLIS, TimeUnit.MILLISECONDS);
          lookAtBlocks();
          if (call == null) {
            continue;
          }
          RandomPrompts.requireLength("load", call.generation.result().join());
          if (call.measured && --left == 0) {
            end = System.nanoTime();
            listener.measuringEnds();
          } else {
            submit(plan.newTokens());
          }
        }
        return level(end);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new IllegalStateException("load: interrupted (expected: all requests done)", e);
      } finally {
        drain();
      }
    }

    private void submit(int newTokens) {
      int number = calls.size() - concurrency;
      if (number == 0) {
        listener.measuringBegins();
      }
      Call call =
          new Call(
              engine, prompts.request(plan.promptTokens(), newTokens),
              number >= 0 && number < requests, this::lookAtBlocks);
      calls.add(call);
      call.generation.result().whenComplete((result, error) -> ended.add(call));
    }

    private void lookAtBlocks() {
      kvBlocks.accumulateAndGet(engine.metrics().kvBlocksUsed(), Math::max);
    }

    private Level level(long end) {
      List<Call> measured = calls.stream().filter(call -> call.measured).toList();
      long begin = measured.get(0).start;
      long tokens = calls.stream().mapToLong(call -> call.arrivals.between(begin, end)).sum();
      return new Level(
          concurrency, concurrency, (end - begin) / NANOS_PER_SECOND,
          measured.stream()
              .map(call -> call.timings().firstTokenMicros() / MICROS_PER_MILLI)
              .toList(),
          measured.stream()
              .map(
                  call ->
                      call.timings().decodeMicros() / MICROS_PER_MILLI / (plan.newTokens() - 1))
              .toList(),
          tokens, kvBlocks.get());
    }

    /** What was only to keep the load up must be gone before the next level. */
    private void drain() {
      calls.forEach(call -> call.generation.close());
      CompletableFuture.allOf(
              calls.stream()
                  .map(call -> call.generation.result().handle((result, error) -> 0))
                  .toArray(CompletableFuture[]::new))
          .join();
    }
  }
}

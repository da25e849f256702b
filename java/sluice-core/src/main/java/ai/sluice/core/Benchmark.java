package ai.sluice.core;

import ai.sluice.api.EngineOptions;
import ai.sluice.api.GenerationOutcome;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.checkpoint.Checkpoint;
import ai.sluice.checkpoint.ModelShape;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;

/**
 * Measures a model in the manner of llama-bench: sequences of random tokens, no end-of-sequence,
 * greedy choice, one run of each test to warm up. Repetitions take the tests in turn, so that a
 * machine that is slower for a while is so for all of them. The whole engine is in the path,
 * scheduler included.
 */
public final class Benchmark {
  /** Of the steps that engines take unless told; more of them are then waited for than there are. */
  private static final int LEAST_USUAL_STEP = 512;

  private static final int MAX_TOKENS = 1 << 20;
  private static final int MAX_REPETITIONS = 10_000;
  private static final int MAX_CONCURRENCY = 4096;
  private static final int SPARE_STEPS = 32;
  private static final int MAX_ATTEMPTS = 20;
  private static final double MICROS_PER_SECOND = 1e6;
  private static final double NANOS_PER_SECOND = 1e9;

  private final Engine engine;
  private final RandomPrompts prompts;

  private Benchmark(Engine engine) {
    this.engine = engine;
    prompts = new RandomPrompts(engine);
  }

  /** Requests of a test, all at once; {@code tokens} are those of one that are counted. */
  private record Test(
      String name, int tokens, int promptTokens, int newTokens, int requests, boolean behindPrompt) {
    static Test prefill(int n) {
      return new Test("pp" + n, n, n, 1, 1, false);
    }

    static Test decode(int n, int requests) {
      return new Test(
          requests == 1 ? "tg" + n : "tg" + n + "x" + requests, n, 1, n, requests, false);
    }

    /**
     * Decoding behind prompts of {@code depth} tokens. Who has computed its prompt generates while
     * others still compute theirs, so each has tokens to spare.
     */
    static Test decode(int n, int depth, int requests, int stepTokens) {
      long steps = (long) depth * requests / stepTokens + 1;
      int spare = (int) Math.min(MAX_TOKENS, 2 * steps + SPARE_STEPS);
      return new Test(
          "tg" + n + "@d" + depth + (requests == 1 ? "" : "x" + requests),
          n, depth, n + spare, requests, true);
    }

    int longest() {
      return promptTokens + newTokens;
    }
  }

  /**
   * What to measure.
   *
   * @param prefillTokens lengths of prompts to compute, each 1 or more
   * @param decodeTokens numbers of tokens to generate, each 1 or more
   * @param depths lengths of the prompts behind which tokens are generated: every one a test for
   *     each of {@code decodeTokens}; 0: from an empty context
   * @param concurrency how many requests generate at once, each 1 or more: every one a test for
   *     each of {@code decodeTokens}
   * @param repetitions 1 or more
   * @throws InvalidRequestException if a number is out of range
   */
  public record Plan(
      List<Integer> prefillTokens,
      List<Integer> decodeTokens,
      List<Integer> depths,
      List<Integer> concurrency,
      int repetitions) {
    /** Checks the numbers. */
    public Plan {
      require("repetitions", repetitions, 1, MAX_REPETITIONS);
      concurrency.forEach(n -> require("concurrency", n, 1, MAX_CONCURRENCY));
      prefillTokens.forEach(n -> require("prefill tokens", n, 1, MAX_TOKENS));
      decodeTokens.forEach(n -> require("decode tokens", n, 1, MAX_TOKENS));
      depths.forEach(n -> require("depth", n, 0, MAX_TOKENS));
      prefillTokens = List.copyOf(prefillTokens);
      decodeTokens = List.copyOf(decodeTokens);
      depths = List.copyOf(depths);
      concurrency = List.copyOf(concurrency);
    }

    private List<Test> tests(int stepTokens) {
      List<Test> tests = new ArrayList<>();
      prefillTokens.forEach(n -> tests.add(Test.prefill(n)));
      for (int n : decodeTokens) {
        for (int depth : depths) {
          for (int requests : concurrency) {
            tests.add(
                depth == 0
                    ? Test.decode(n, requests)
                    : Test.decode(n, depth, requests, stepTokens));
          }
        }
      }
      return tests;
    }
  }

  /**
   * Opens a model and measures it.
   *
   * @param options the model, and how to run it; the context length, unless set, is what the tests
   *     need, and as many sequences run as they ask for, without a prefix cache
   * @throws ai.sluice.api.SluiceException as {@link Engine#open}
   */
  public static BenchmarkReport run(EngineOptions options, Plan plan) {
    return run(options, plan, EngineOpening::open);
  }

  /**
   * Measures a model with random weights; no checkpoint is needed.
   *
   * @param options how to run it; the model that they name is not looked for
   * @param shape one of {@link #shapes}, or a folder with config.json
   * @throws InvalidRequestException if it is neither
   * @throws ai.sluice.api.SluiceException as {@link Engine#open}
   */
  public static BenchmarkReport runShape(EngineOptions options, String shape, Plan plan) {
    Checkpoint random = Checkpoint.random(shape);
    return run(options, plan, made -> EngineOpening.open(made, () -> random));
  }

  /** Names that {@link #runShape} knows. */
  public static List<String> shapes() {
    return ModelShape.labels();
  }

  private static BenchmarkReport run(
      EngineOptions options, Plan plan, Function<EngineOptions, Engine> opening) {
    List<Test> tests = plan.tests(options.maxStepTokens().orElse(LEAST_USUAL_STEP));
    int longest = 2;
    int sequences = 1;
    for (Test test : tests) {
      longest = Math.max(longest, test.longest());
      sequences = Math.max(sequences, test.requests());
    }
    // What is measured must be computed.
    EngineOptions.Builder builder = options.toBuilder().maxSequences(sequences).prefixCache(false);
    if (options.maxContextLength().isEmpty()) {
      builder.maxContextLength(longest);
    }
    try (Engine engine = opening.apply(builder.build())) {
      List<BenchmarkReport.Result> results =
          new Benchmark(engine).measure(tests, plan.repetitions());
      return new BenchmarkReport(
          engine.modelInfo(),
          engine.weightsLoad(),
          results,
          options.reportExpertCounts() ? Optional.of(engine.expertLoad()) : Optional.empty());
    }
  }

  private static void require(String name, int value, int least, int most) {
    if (value < least || value > most) {
      throw new InvalidRequestException(
          name + ": " + value + " (expected: " + least + " to " + most + ")");
    }
  }

  private List<BenchmarkReport.Result> measure(List<Test> tests, int repetitions) {
    List<List<Double>> samples = new ArrayList<>();
    tests.forEach(test -> samples.add(new ArrayList<>()));
    for (int i = -1; i < repetitions; i++) {
      for (int t = 0; t < tests.size(); t++) {
        double speed = speed(tests.get(t));
        if (i >= 0) {
          samples.get(t).add(speed);
        }
      }
    }
    List<BenchmarkReport.Result> results = new ArrayList<>();
    for (int t = 0; t < tests.size(); t++) {
      results.add(result(tests.get(t), samples.get(t)));
    }
    return results;
  }

  /** Tokens per second of one run. */
  private double speed(Test test) {
    if (test.behindPrompt()) {
      return decodeSpeed(test);
    }
    if (test.requests() == 1) {
      GenerationResult result =
          engine.generate(prompts.request(test.promptTokens(), test.newTokens()));
      RandomPrompts.requireLength(test.name(), result);
      return test.tokens() * MICROS_PER_SECOND / Math.max(1, result.timings().totalMicros());
    }
    List<GenerationRequest> requests = new ArrayList<>();
    for (int i = 0; i < test.requests(); i++) {
      requests.add(prompts.request(test.promptTokens(), test.newTokens()));
    }
    long start = System.nanoTime();
    List<GenerationOutcome> outcomes = engine.generateAll(requests);
    double seconds = Math.max(1, System.nanoTime() - start) / NANOS_PER_SECOND;
    outcomes.forEach(outcome -> RandomPrompts.requireLength(test.name(), outcome.orElseThrow()));
    return test.requests() * (double) test.tokens() / seconds;
  }

  /**
   * Tokens per second while all requests generate: from the first token of the last one to the
   * last token of the first one that ends. A small model may answer some before the others are
   * submitted: then once more.
   */
  private double decodeSpeed(Test test) {
    for (int attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      List<TokenArrivals> arrivals = generate(test);
      long begin = arrivals.stream().mapToLong(TokenArrivals::first).max().orElseThrow();
      long end = arrivals.stream().mapToLong(TokenArrivals::last).min().orElseThrow();
      long tokens = arrivals.stream().mapToLong(each -> each.between(begin, end)).sum();
      if (tokens >= (long) test.tokens() * test.requests() / 2) {
        return tokens * NANOS_PER_SECOND / Math.max(1, end - begin);
      }
    }
    throw new InvalidRequestException(
        test.name() + ": the model answers faster than " + test.requests()
            + " requests are submitted (expected: more tokens, fewer requests or a longer prompt)");
  }

  private List<TokenArrivals> generate(Test test) {
    List<GenerationRequest> requests = new ArrayList<>();
    for (int i = 0; i < test.requests(); i++) {
      requests.add(prompts.request(test.promptTokens(), test.newTokens()));
    }
    List<Generation> generations = requests.stream().map(engine::submit).toList();
    List<TokenArrivals> arrivals = new ArrayList<>();
    for (Generation generation : generations) {
      TokenArrivals each = new TokenArrivals();
      arrivals.add(each);
      generation.onChunk(each::add);
    }
    for (Generation generation : generations) {
      RandomPrompts.requireLength(test.name(), generation.result().join());
    }
    return arrivals;
  }

  private static BenchmarkReport.Result result(Test test, List<Double> samples) {
    double mean = samples.stream().mapToDouble(Double::doubleValue).average().orElseThrow();
    double squares = samples.stream().mapToDouble(s -> (s - mean) * (s - mean)).sum();
    int repetitions = samples.size();
    double deviation = repetitions == 1 ? 0 : Math.sqrt(squares / (repetitions - 1));
    return new BenchmarkReport.Result(
        test.name(), test.requests(), test.requests() * test.tokens(), repetitions, mean, deviation, samples);
  }
}

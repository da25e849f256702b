package ai.sluice.core;

import ai.sluice.api.EngineOptions;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationOutcome;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.Sampling;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;

/**
 * Measures a model in the manner of llama-bench: sequences of random tokens, no end-of-sequence,
 * greedy choice, one run of each test to warm up. Repetitions take the tests in turn, so that a
 * machine that is slower for a while is so for all of them. The whole engine is in the path,
 * scheduler included.
 */
public final class Benchmark {
  private static final int MAX_TOKENS = 1 << 20;
  private static final int MAX_REPETITIONS = 10_000;
  private static final int MAX_CONCURRENCY = 4096;
  private static final double MICROS_PER_SECOND = 1e6;
  private static final double NANOS_PER_SECOND = 1e9;

  private final Engine engine;
  private final Random random = new Random(1);

  private Benchmark(Engine engine) {
    this.engine = engine;
  }

  /** Requests of a test, all at once; {@code tokens} are those of one that are counted. */
  private record Test(String name, int tokens, int promptTokens, int newTokens, int requests) {
    static Test prefill(int n) {
      return new Test("pp" + n, n, n, 1, 1);
    }

    static Test decode(int n, int requests) {
      return new Test(requests == 1 ? "tg" + n : "tg" + n + "x" + requests, n, 1, n, requests);
    }
  }

  /**
   * Opens a model and measures it.
   *
   * @param options the model, and how to run it; the context length, unless set, is what the tests
   *     need, and as many sequences run as they ask for, without a prefix cache
   * @param prefillTokens lengths of prompts to compute, each 1 or more
   * @param decodeTokens numbers of tokens to generate, each 1 or more
   * @param concurrency how many requests generate at once, each 1 or more: every one a test for
   *     each of {@code decodeTokens}
   * @param repetitions 1 or more
   * @throws InvalidRequestException if a number is out of range
   * @throws ai.sluice.api.SluiceException as {@link Engine#open}
   */
  public static BenchmarkReport run(
      EngineOptions options,
      List<Integer> prefillTokens,
      List<Integer> decodeTokens,
      List<Integer> concurrency,
      int repetitions) {
    require("repetitions", repetitions, MAX_REPETITIONS);
    concurrency.forEach(n -> require("concurrency", n, MAX_CONCURRENCY));
    prefillTokens.forEach(n -> require("prefill tokens", n, MAX_TOKENS));
    decodeTokens.forEach(n -> require("decode tokens", n, MAX_TOKENS));
    List<Test> tests = new ArrayList<>();
    prefillTokens.forEach(n -> tests.add(Test.prefill(n)));
    for (int n : decodeTokens) {
      concurrency.forEach(requests -> tests.add(Test.decode(n, requests)));
    }
    int longest = 2;
    int sequences = 1;
    for (Test test : tests) {
      longest = Math.max(longest, test.tokens() + 1);
      sequences = Math.max(sequences, test.requests());
    }
    // What is measured must be computed.
    EngineOptions.Builder builder = options.toBuilder().maxSequences(sequences).prefixCache(false);
    if (options.maxContextLength().isEmpty()) {
      builder.maxContextLength(longest);
    }
    try (Engine engine = Engine.open(builder.build())) {
      List<BenchmarkReport.Result> results = new Benchmark(engine).measure(tests, repetitions);
      return new BenchmarkReport(
          engine.modelInfo(),
          results,
          options.reportExpertCounts() ? Optional.of(engine.expertLoad()) : Optional.empty());
    }
  }

  private static void require(String name, int value, int most) {
    if (value < 1 || value > most) {
      throw new InvalidRequestException(name + ": " + value + " (expected: 1 to " + most + ")");
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
    if (test.requests() == 1) {
      GenerationResult result =
          engine.generate(request(test.promptTokens(), test.newTokens()));
      requireLength(test, result);
      return test.tokens() * MICROS_PER_SECOND / Math.max(1, result.timings().totalMicros());
    }
    List<GenerationRequest> requests = new ArrayList<>();
    for (int i = 0; i < test.requests(); i++) {
      requests.add(request(test.promptTokens(), test.newTokens()));
    }
    long start = System.nanoTime();
    List<GenerationOutcome> outcomes = engine.generateAll(requests);
    double seconds = Math.max(1, System.nanoTime() - start) / NANOS_PER_SECOND;
    outcomes.forEach(outcome -> requireLength(test, outcome.orElseThrow()));
    return test.requests() * (double) test.tokens() / seconds;
  }

  private static void requireLength(Test test, GenerationResult result) {
    if (result.finishReason() != FinishReason.LENGTH) {
      throw new IllegalStateException(
          test.name() + ": ended with " + result.finishReason() + " (expected: LENGTH) "
              + result.detail());
    }
  }

  private static BenchmarkReport.Result result(Test test, List<Double> samples) {
    double mean = samples.stream().mapToDouble(Double::doubleValue).average().orElseThrow();
    double squares = samples.stream().mapToDouble(s -> (s - mean) * (s - mean)).sum();
    int repetitions = samples.size();
    double deviation = repetitions == 1 ? 0 : Math.sqrt(squares / (repetitions - 1));
    return new BenchmarkReport.Result(
        test.name(), test.requests() * test.tokens(), repetitions, mean, deviation, samples);
  }

  private GenerationRequest request(int promptTokens, int newTokens) {
    return GenerationRequest.builder()
        .promptTokens(
            random.ints(promptTokens, 0, engine.modelInfo().vocabSize()).toArray())
        .maxNewTokens(newTokens)
        .sampling(
            Sampling.greedy().toBuilder()
                .repetitionPenalty(1)
                .presencePenalty(0)
                .frequencyPenalty(0)
                .build())
        .ignoreEos(true)
        .build();
  }
}

package ai.sluice.core;

import ai.sluice.api.EngineOptions;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.Sampling;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;

/**
 * Measures a model in the manner of llama-bench: one sequence of random tokens, no end-of-sequence,
 * greedy choice, one run to warm up. The whole engine is in the path, scheduler included.
 */
public final class Benchmark {
  private static final int MAX_TOKENS = 1 << 20;
  private static final int MAX_REPETITIONS = 10_000;
  private static final double MICROS_PER_SECOND = 1e6;

  private final Engine engine;
  private final Random random = new Random(1);
  private final int repetitions;

  private Benchmark(Engine engine, int repetitions) {
    this.engine = engine;
    this.repetitions = repetitions;
  }

  /**
   * Opens a model and measures it.
   *
   * @param options the model, and how to run it; the context length, unless set, is what the tests
   *     need, and one sequence runs, without a prefix cache
   * @param prefillTokens lengths of prompts to compute, each 1 or more
   * @param decodeTokens numbers of tokens to generate, each 1 or more
   * @param repetitions 1 or more
   * @throws InvalidRequestException if a number is out of range
   * @throws ai.sluice.api.SluiceException as {@link Engine#open}
   */
  public static BenchmarkReport run(
      EngineOptions options,
      List<Integer> prefillTokens,
      List<Integer> decodeTokens,
      int repetitions) {
    require("repetitions", repetitions, MAX_REPETITIONS);
    prefillTokens.forEach(n -> require("prefill tokens", n, MAX_TOKENS));
    decodeTokens.forEach(n -> require("decode tokens", n, MAX_TOKENS));
    int longest = 2;
    for (int n : prefillTokens) {
      longest = Math.max(longest, n + 1);
    }
    for (int n : decodeTokens) {
      longest = Math.max(longest, n + 1);
    }
    // What is measured must be computed.
    EngineOptions.Builder builder = options.toBuilder().maxSequences(1).prefixCache(false);
    if (options.maxContextLength().isEmpty()) {
      builder.maxContextLength(longest);
    }
    try (Engine engine = Engine.open(builder.build())) {
      Benchmark benchmark = new Benchmark(engine, repetitions);
      List<BenchmarkReport.Result> results = new ArrayList<>();
      for (int n : prefillTokens) {
        results.add(benchmark.measure("pp" + n, n, n, 1));
      }
      for (int n : decodeTokens) {
        results.add(benchmark.measure("tg" + n, n, 1, n));
      }
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

  private BenchmarkReport.Result measure(String name, int tokens, int promptTokens, int newTokens) {
    List<Double> samples = new ArrayList<>();
    for (int i = -1; i < repetitions; i++) {
      GenerationResult result = engine.generate(request(promptTokens, newTokens));
      if (result.finishReason() != FinishReason.LENGTH) {
        throw new IllegalStateException(
            name + ": ended with " + result.finishReason() + " (expected: LENGTH) "
                + result.detail());
      }
      if (i >= 0) {
        samples.add(tokens * MICROS_PER_SECOND / Math.max(1, result.timings().totalMicros()));
      }
    }
    double mean = samples.stream().mapToDouble(Double::doubleValue).average().orElseThrow();
    double squares = samples.stream().mapToDouble(s -> (s - mean) * (s - mean)).sum();
    double deviation = repetitions == 1 ? 0 : Math.sqrt(squares / (repetitions - 1));
    return new BenchmarkReport.Result(name, tokens, repetitions, mean, deviation, samples);
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

package ai.sluice.core;

import ai.sluice.api.ExpertLoad;
import ai.sluice.api.ModelInfo;
import java.util.List;
import java.util.Optional;

/**
 * Speeds of a model.
 *
 * @param model what was measured
 * @param load how long the weights took
 * @param results one per test
 * @param expertLoad how evenly experts were used in all of them, if the options ask for it
 */
public record BenchmarkReport(
    ModelInfo model,
    WeightsLoad load,
    List<Result> results,
    Optional<ExpertLoad> expertLoad) {
  /** Copies the list. */
  public BenchmarkReport {
    results = List.copyOf(results);
  }

  /**
   * One test, in the manner of llama-bench: {@code pp512} computes a prompt of 512 tokens, {@code
   * tg128} generates 128 tokens one by one from an empty context, {@code tg128x16} as many for each
   * of 16 requests at once, {@code tg128@d1024x16} the same behind a prompt of 1024 tokens each.
   *
   * @param name for example {@code pp512}
   * @param concurrency requests at once
   * @param tokens tokens of one repetition, of all requests
   * @param repetitions how often it was run, after one run that does not count
   * @param tokensPerSecond mean over the repetitions
   * @param standardDeviation of tokensPerSecond; 0 for one repetition
   * @param samples tokens per second of each repetition
   */
  public record Result(
      String name,
      int concurrency,
      int tokens,
      int repetitions,
      double tokensPerSecond,
      double standardDeviation,
      List<Double> samples) {
    /** Copies the list. */
    public Result {
      samples = List.copyOf(samples);
    }

    /** Whether tokens were generated one by one. */
    public boolean decodes() {
      return name.startsWith("tg");
    }

    /** Milliseconds of a step that gives each request a token, if {@link #decodes}. */
    public double millisPerStep() {
      return 1e3 * concurrency / tokensPerSecond;
    }
  }
}

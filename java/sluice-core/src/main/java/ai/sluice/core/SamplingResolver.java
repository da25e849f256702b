package ai.sluice.core;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.Sampling;
import ai.sluice.api.SamplingDefaults;
import ai.sluice.core.scheduler.SamplingParams;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;

/** Joins what a request sets with the checkpoint's defaults and the built-in ones. */
final class SamplingResolver {
  private static final Sampling BUILT_IN =
      Sampling.builder()
          .temperature(0)
          .topK(0)
          .topP(1)
          .minP(0)
          .repetitionPenalty(1)
          .presencePenalty(0)
          .frequencyPenalty(0)
          .build();

  private final Sampling checkpoint;
  private final SamplingDefaults defaults;
  private final int vocabSize;

  /**
   * Creates a resolver.
   *
   * @param checkpoint what the checkpoint sets
   * @param source where it sets it, if anywhere
   * @param vocabSize of the model
   */
  SamplingResolver(Sampling checkpoint, Optional<String> source, int vocabSize) {
    this.checkpoint = checkpoint;
    this.vocabSize = vocabSize;
    boolean silent = checkpoint.equals(Sampling.unset());
    defaults =
        new SamplingDefaults(
            join(Sampling.unset()),
            source
                .map(file -> silent ? "built in (" + file + " sets none)" : file)
                .orElse("built in"));
  }

  /** Values in force where a request sets none. */
  SamplingDefaults defaults() {
    return defaults;
  }

  /**
   * Values in force for a request, in the types of the step message.
   *
   * @throws InvalidRequestException if a biased token is not in the vocabulary
   */
  SamplingParams resolve(Sampling request) {
    Sampling all = join(request);
    Map<Integer, Float> bias = request.logitBias();
    int[] tokens = new int[bias.size()];
    float[] biases = new float[bias.size()];
    int i = 0;
    for (Map.Entry<Integer, Float> entry : bias.entrySet()) {
      if (entry.getKey() >= vocabSize) {
        throw new InvalidRequestException(
            "logitBias token: " + entry.getKey() + " (expected: 0 to " + (vocabSize - 1) + ")");
      }
      tokens[i] = entry.getKey();
      biases[i++] = entry.getValue();
    }
    int topK = all.topK().getAsInt();
    return new SamplingParams(
        (float) all.temperature().getAsDouble(),
        topK >= vocabSize ? 0 : topK,
        // Close to 0 in double may be 0 in float, which the engine refuses.
        Math.max(Float.MIN_NORMAL, (float) all.topP().getAsDouble()),
        Math.min(Math.nextDown(1f), (float) all.minP().getAsDouble()),
        (float) all.repetitionPenalty().getAsDouble(),
        (float) all.presencePenalty().getAsDouble(),
        (float) all.frequencyPenalty().getAsDouble(),
        tokens,
        biases);
  }

  private Sampling join(Sampling request) {
    boolean filtered =
        first(request.topP(), checkpoint.topP()).isPresent()
            || first(request.minP(), checkpoint.minP()).isPresent()
            || request.topK().isPresent()
            || checkpoint.topK().isPresent();
    return Sampling.builder()
        .temperature(
            first(request.temperature(), checkpoint.temperature()).orElse(filtered ? 1 : 0))
        .topK(request.topK().orElse(checkpoint.topK().orElse(BUILT_IN.topK().getAsInt())))
        .topP(value(request.topP(), checkpoint.topP(), BUILT_IN.topP()))
        .minP(value(request.minP(), checkpoint.minP(), BUILT_IN.minP()))
        .repetitionPenalty(
            value(
                request.repetitionPenalty(),
                checkpoint.repetitionPenalty(),
                BUILT_IN.repetitionPenalty()))
        .presencePenalty(
            value(
                request.presencePenalty(),
                checkpoint.presencePenalty(),
                BUILT_IN.presencePenalty()))
        .frequencyPenalty(
            value(
                request.frequencyPenalty(),
                checkpoint.frequencyPenalty(),
                BUILT_IN.frequencyPenalty()))
        .build();
  }

  private static OptionalDouble first(OptionalDouble a, OptionalDouble b) {
    return a.isPresent() ? a : b;
  }

  private static double value(OptionalDouble a, OptionalDouble b, OptionalDouble c) {
    return first(first(a, b), c).getAsDouble();
  }
}

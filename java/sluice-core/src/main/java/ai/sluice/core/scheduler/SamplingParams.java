package ai.sluice.core.scheduler;

/**
 * Sampling values of one sequence, all resolved and in the types of the step message.
 *
 * @param temperature 0: greedy
 * @param topK 0: off
 * @param topP 1: off
 * @param minP 0: off
 * @param repetitionPenalty 1: off
 * @param presencePenalty 0: off
 * @param frequencyPenalty 0: off
 * @param biasTokens tokens with a bias; not copied
 * @param biases their biases; not copied
 */
public record SamplingParams(
    float temperature,
    int topK,
    float topP,
    float minP,
    float repetitionPenalty,
    float presencePenalty,
    float frequencyPenalty,
    int[] biasTokens,
    float[] biases) {
  private static final int[] NO_TOKENS = {};
  private static final float[] NO_BIASES = {};

  /** The likeliest token always wins. */
  public static final SamplingParams GREEDY =
      new SamplingParams(0, 0, 1, 0, 1, 0, 0, NO_TOKENS, NO_BIASES);

  /** Whether the engine must count this sequence's output tokens. */
  boolean countsOutput() {
    return repetitionPenalty != 1 || presencePenalty != 0 || frequencyPenalty != 0;
  }

  /** Whether the engine must know which tokens the prompt has. */
  boolean countsPrompt() {
    return repetitionPenalty != 1;
  }
}

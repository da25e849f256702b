package ai.sluice.api;

import java.util.List;

/**
 * What a generation came to. A generation that was cancelled, timed out or was rejected has a
 * result too, with what there was until then.
 *
 * @param text the generated text, without stop strings and stop tokens; empty when the engine has
 *     no tokenizer
 * @param tokens ids of all generated tokens, the one that stopped it included
 * @param logprobs one entry per token when the request asked for log-probabilities, else empty
 * @param finishReason why it ended
 * @param detail what the reason alone does not say, in words; often empty
 * @param seed the seed in force, given or drawn; with it the same request gives the same tokens
 * @param usage tokens taken
 * @param timings time taken
 */
public record GenerationResult(
    String text,
    List<Integer> tokens,
    List<TokenLogprob> logprobs,
    FinishReason finishReason,
    String detail,
    long seed,
    Usage usage,
    Timings timings) {
  /** Copies the lists. */
  public GenerationResult {
    tokens = List.copyOf(tokens);
    logprobs = List.copyOf(logprobs);
  }
}

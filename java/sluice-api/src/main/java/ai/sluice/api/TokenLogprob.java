package ai.sluice.api;

import java.util.List;

/**
 * Log-probability of a generated token under the softmax of the raw logits, before temperature,
 * penalties and bias.
 *
 * @param token the token's id
 * @param text the token decoded alone (part of a character shows as U+FFFD); empty when the engine
 *     has no tokenizer
 * @param logprob natural log-probability
 * @param rank tokens that were likelier; 0 for the likeliest
 * @param top the likeliest tokens, by falling log-probability, as many as the request asked for
 */
public record TokenLogprob(int token, String text, double logprob, int rank, List<TopLogprob> top) {
  /** Copies the list. */
  public TokenLogprob {
    top = List.copyOf(top);
  }
}

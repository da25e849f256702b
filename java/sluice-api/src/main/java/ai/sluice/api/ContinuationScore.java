package ai.sluice.api;

import java.util.List;

/**
 * How likely a model finds one continuation.
 *
 * @param logprob natural log-probability of all its tokens, the sum over them
 * @param isGreedy whether each of its tokens is the likeliest one at its place (of equal ones the
 *     lower id), so that greedy decoding would give it
 * @param tokens its tokens, each with its log-probability after those before it
 */
public record ContinuationScore(double logprob, boolean isGreedy, List<TokenLogprob> tokens) {
  /** Copies the list. */
  public ContinuationScore {
    tokens = List.copyOf(tokens);
  }

  /** How many tokens it has. */
  public int tokenCount() {
    return tokens.size();
  }
}

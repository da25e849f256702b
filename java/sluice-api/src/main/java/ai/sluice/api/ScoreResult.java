package ai.sluice.api;

import java.util.List;

/**
 * The end of a score request.
 *
 * @param scores one per continuation, in the request's order; one for a text by itself. Empty
 *     unless the reason is STOP
 * @param finishReason STOP when the scores are there
 * @param detail more in words, or empty
 * @param usage tokens of all continuations, each behind its prompt; of these, what several share
 *     and what was found in the prefix cache counts as cached
 * @param timings where the time went
 */
public record ScoreResult(
    List<ContinuationScore> scores,
    FinishReason finishReason,
    String detail,
    Usage usage,
    Timings timings) {
  /** Copies the list. */
  public ScoreResult {
    scores = List.copyOf(scores);
  }

  /** Whether there are scores. */
  public boolean succeeded() {
    return finishReason == FinishReason.STOP;
  }

  /**
   * The index of the likeliest continuation, the lower one of equals.
   *
   * @throws IllegalStateException if there are no scores
   */
  public int best() {
    if (scores.isEmpty()) {
      throw new IllegalStateException(
          "scores: none, the request ended with " + finishReason + " " + detail
              + " (expected: STOP; see finishReason)");
    }
    int best = 0;
    for (int i = 1; i < scores.size(); i++) {
      if (scores.get(i).logprob() > scores.get(best).logprob()) {
        best = i;
      }
    }
    return best;
  }
}

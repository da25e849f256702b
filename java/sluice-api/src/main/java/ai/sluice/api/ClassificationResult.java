package ai.sluice.api;

import java.util.List;

/**
 * The end of a classification.
 *
 * @param scores one number per label, as the head gives them: no softmax is taken. Empty unless the
 *     reason is STOP
 * @param finishReason STOP when the scores are there
 * @param detail more in words, or empty
 * @param usage tokens of the prompt
 * @param timings where the time went
 */
public record ClassificationResult(
    List<Float> scores, FinishReason finishReason, String detail, Usage usage, Timings timings) {
  /** Copies the list. */
  public ClassificationResult {
    scores = List.copyOf(scores);
  }

  /** Whether there are scores. */
  public boolean succeeded() {
    return finishReason == FinishReason.STOP;
  }

  /**
   * The label with the highest score, the lower one of equals.
   *
   * @throws IllegalStateException if there are no scores
   */
  public int label() {
    if (scores.isEmpty()) {
      throw new IllegalStateException(
          "scores: none, the classification ended with " + finishReason + " " + detail
              + " (expected: STOP; see finishReason)");
    }
    int best = 0;
    for (int i = 1; i < scores.size(); i++) {
      if (scores.get(i) > scores.get(best)) {
        best = i;
      }
    }
    return best;
  }
}

package ai.sluice.cli.soak;

import ai.sluice.api.ContinuationScore;
import ai.sluice.api.ScoreRequest;
import java.util.List;

/**
 * A request for scores whose outcome is known, because it was run alone before.
 *
 * @param promptTokens what goes before
 * @param continuations what is scored
 * @param reference the scores when nothing ran beside it
 */
record SoakScore(
    int[] promptTokens, List<int[]> continuations, List<ContinuationScore> reference) {
  /** The request, sharing state with those of the same salt. */
  ScoreRequest request(String cacheSalt) {
    return request(promptTokens, continuations, cacheSalt);
  }

  static ScoreRequest request(
      int[] promptTokens, List<int[]> continuations, String cacheSalt) {
    return ScoreRequest.builder()
        .promptTokens(promptTokens)
        .continuationTokens(continuations)
        .cacheSalt(cacheSalt)
        .build();
  }
}

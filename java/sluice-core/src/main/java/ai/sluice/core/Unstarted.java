package ai.sluice.core;

import ai.sluice.api.ClassificationResult;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.ScoreResult;
import ai.sluice.api.Timings;
import ai.sluice.api.Usage;
import java.util.List;

/** Results of requests for which nothing was computed. */
final class Unstarted {
  private static final Usage NO_USAGE = new Usage(0, 0, 0);
  private static final Timings NO_TIME = new Timings(0, 0, 0, 0);

  private Unstarted() {}

  static ClassificationResult classification(FinishReason reason, String detail) {
    return new ClassificationResult(List.of(), reason, detail, NO_USAGE, NO_TIME);
  }

  static ScoreResult score(FinishReason reason, String detail) {
    return new ScoreResult(List.of(), reason, detail, NO_USAGE, NO_TIME);
  }

  static GenerationResult generation(FinishReason reason, String detail, long seed) {
    return new GenerationResult(
        "", List.of(), List.of(), reason, detail, seed, NO_USAGE, NO_TIME);
  }
}

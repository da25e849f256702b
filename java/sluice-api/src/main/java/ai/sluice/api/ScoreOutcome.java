package ai.sluice.api;

import java.util.Optional;

/**
 * What became of one score request of many: a result, or the exception that refused or ended it.
 * Exactly one is present.
 *
 * @param result the result, also of a request that was cancelled or timed out
 * @param failure why there is none
 */
public record ScoreOutcome(Optional<ScoreResult> result, Optional<SluiceException> failure) {
  /** Checks that exactly one is present. */
  public ScoreOutcome {
    if (result.isPresent() == failure.isPresent()) {
      throw new IllegalArgumentException("outcome: expected either a result or a failure");
    }
  }

  /** An outcome with a result. */
  public static ScoreOutcome of(ScoreResult result) {
    return new ScoreOutcome(Optional.of(result), Optional.empty());
  }

  /** An outcome without one. */
  public static ScoreOutcome of(SluiceException failure) {
    return new ScoreOutcome(Optional.empty(), Optional.of(failure));
  }

  /**
   * The result.
   *
   * @throws SluiceException if there is none
   */
  public ScoreResult orElseThrow() {
    if (failure.isPresent()) {
      throw failure.get();
    }
    return result.orElseThrow();
  }
}

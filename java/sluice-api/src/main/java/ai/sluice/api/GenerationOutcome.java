package ai.sluice.api;

import java.util.Optional;

/**
 * What became of one request of many: a result, or the exception that refused or ended it. Exactly
 * one is present.
 *
 * @param result the result, also of a generation that was cancelled or timed out
 * @param failure why there is none
 */
public record GenerationOutcome(
    Optional<GenerationResult> result, Optional<SluiceException> failure) {
  /** Checks that exactly one is present. */
  public GenerationOutcome {
    if (result.isPresent() == failure.isPresent()) {
      throw new IllegalArgumentException("outcome: expected either a result or a failure");
    }
  }

  /** An outcome with a result. */
  public static GenerationOutcome of(GenerationResult result) {
    return new GenerationOutcome(Optional.of(result), Optional.empty());
  }

  /** An outcome without one. */
  public static GenerationOutcome of(SluiceException failure) {
    return new GenerationOutcome(Optional.empty(), Optional.of(failure));
  }

  /**
   * The result.
   *
   * @throws SluiceException if there is none
   */
  public GenerationResult orElseThrow() {
    if (failure.isPresent()) {
      throw failure.get();
    }
    return result.orElseThrow();
  }
}

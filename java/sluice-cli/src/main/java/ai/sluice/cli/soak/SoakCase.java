package ai.sluice.cli.soak;

import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;

/**
 * A request whose outcome is known, because it was run alone before.
 *
 * @param name what it is for
 * @param request always gives the same
 * @param reference what it gave when nothing ran beside it
 */
record SoakCase(String name, GenerationRequest request, GenerationResult reference) {
  /**
   * Says how a whole result differs from the reference; empty if it does not.
   */
  String difference(GenerationResult result) {
    if (result.finishReason() != reference.finishReason()) {
      return name + ": ended with " + result.finishReason() + " " + result.detail()
          + " (expected: " + reference.finishReason() + ")";
    }
    if (!result.tokens().equals(reference.tokens())) {
      return name + ": tokens " + result.tokens() + " (expected: " + reference.tokens() + ")";
    }
    if (!result.text().equals(reference.text())) {
      return name + ": text " + result.text() + " (expected: " + reference.text() + ")";
    }
    if (!result.logprobs().equals(reference.logprobs())) {
      return name + ": log-probabilities " + result.logprobs() + " (expected: "
          + reference.logprobs() + ")";
    }
    return "";
  }

  /** Says how a result that was cut short differs from the reference; empty if it does not. */
  String differenceOfBeginning(GenerationResult result) {
    int length = Math.min(result.tokens().size(), reference.tokens().size());
    return result.tokens().equals(reference.tokens().subList(0, length))
        ? ""
        : name + ": tokens " + result.tokens() + " (expected: the beginning of "
            + reference.tokens() + ")";
  }
}

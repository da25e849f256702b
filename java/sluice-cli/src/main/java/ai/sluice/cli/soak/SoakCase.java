package ai.sluice.cli.soak;

import ai.sluice.api.FinishReason;
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
   * Says how a result differs from the reference; empty if it does not.
   *
   * @param mayBeCut whether it may have been cancelled or timed out; then it is a beginning
   */
  String difference(GenerationResult result, boolean mayBeCut) {
    String own =
        mayBeCut && isCut(result) ? differenceOfBeginning(result) : differenceOfWhole(result);
    if (!own.isEmpty()) {
      return own;
    }
    for (int i = 0; i < reference.alternatives().size(); i++) {
      if (i >= result.alternatives().size()) {
        return name + ": " + result.alternatives().size() + " further alternatives (expected: "
            + reference.alternatives().size() + ")";
      }
      String difference =
          new SoakCase(name + " " + (i + 1), request, reference.alternatives().get(i))
              .difference(result.alternatives().get(i), mayBeCut);
      if (!difference.isEmpty()) {
        return difference;
      }
    }
    return "";
  }

  private static boolean isCut(GenerationResult result) {
    return result.finishReason() == FinishReason.CANCELLED
        || result.finishReason() == FinishReason.TIMEOUT;
  }

  private String differenceOfWhole(GenerationResult result) {
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

  private String differenceOfBeginning(GenerationResult result) {
    int length = Math.min(result.tokens().size(), reference.tokens().size());
    return result.tokens().equals(reference.tokens().subList(0, length))
        ? ""
        : name + ": tokens " + result.tokens() + " (expected: the beginning of "
            + reference.tokens() + ")";
  }
}

package ai.sluice.eval.tasks;

import ai.sluice.api.InvalidRequestException;

/** Checks of the number of worked examples. */
final class Shots {
  private Shots() {}

  /** @throws InvalidRequestException unless 0 <= shots <= most */
  static void check(String task, int shots, int most) {
    if (shots < 0 || shots > most) {
      throw new InvalidRequestException(
          "num-fewshot: " + shots + " (expected: 0 to " + most + " for " + task + ")");
    }
  }
}

package ai.sluice.eval.compare;

import ai.sluice.eval.run.ItemKey;

/**
 * An item whose score differs between two runs.
 *
 * @param group the task as it was asked for
 * @param key the item
 * @param metric by which it differs
 * @param question its first line that is not empty
 * @param target the right answer: a letter, or a text; empty where it is a program
 * @param baselineAnswer of the first run: a letter, what a filter took out, or the text
 * @param otherAnswer of the second run
 * @param baselineScore of the first run
 * @param otherScore of the second run
 */
public record FlippedItem(
    String group,
    ItemKey key,
    String metric,
    String question,
    String target,
    String baselineAnswer,
    String otherAnswer,
    double baselineScore,
    double otherScore) {
  /** Whether the second run scores lower. */
  public boolean isLost() {
    return otherScore < baselineScore;
  }
}

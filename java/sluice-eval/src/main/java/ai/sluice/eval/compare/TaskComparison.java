package ai.sluice.eval.compare;

import java.util.List;

/**
 * One task in two runs.
 *
 * @param task as it was asked for
 * @param shots worked examples before each question
 * @param items that both runs have judged
 * @param onlyBaseline that only the first run has
 * @param onlyOther that only the second run has
 * @param unjudged that both have, at least one of them without a score
 * @param metrics in the order of the items
 */
public record TaskComparison(
    String task,
    int shots,
    int items,
    int onlyBaseline,
    int onlyOther,
    int unjudged,
    List<MetricComparison> metrics) {
  /** Copies the list. */
  public TaskComparison {
    metrics = List.copyOf(metrics);
  }
}

package ai.sluice.eval.compare;

import ai.sluice.eval.metrics.Interval;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * One metric of one task in two runs, over the items that both have.
 *
 * @param metric as in the items: {@code acc,none}
 * @param items how many
 * @param baseline mean score of the first run
 * @param other mean score of the second run
 * @param difference {@code other} minus {@code baseline}
 * @param interval of the difference at 95 %, by a paired bootstrap; empty for a single item
 * @param clusters how many subjects were drawn as wholes; 0: items were drawn alone
 * @param lost items whose score is lower in the second run
 * @param won items whose score is higher in the second run
 * @param mcNemarP two-sided p-value of McNemar's exact test; empty unless all scores are 0 or 1
 */
public record MetricComparison(
    String metric,
    int items,
    double baseline,
    double other,
    double difference,
    Optional<Interval> interval,
    int clusters,
    int lost,
    int won,
    OptionalDouble mcNemarP) {
  /** Whether the second run is worse: the interval lies wholly below 0. */
  public boolean isWorse() {
    return interval.isPresent() && interval.get().high() < 0;
  }

  /** Whether the second run is better: the interval lies wholly above 0. */
  public boolean isBetter() {
    return interval.isPresent() && interval.get().low() > 0;
  }
}

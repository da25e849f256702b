package ai.sluice.eval;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What an answer is worth.
 *
 * @param filtered by filter what was taken out of the answer and judged
 * @param metrics by {@code metric,filter}, as in lm-eval's results ({@code acc,none}), the score
 * @param verdicts how each program of a task that runs them ended ({@code passed}, {@code failed:
 *     AssertionError}); of other tasks none
 */
public record ItemScores(
    Map<String, String> filtered, Map<String, Double> metrics, List<String> verdicts) {
  /** Of a task that runs no programs. */
  public ItemScores(Map<String, String> filtered, Map<String, Double> metrics) {
    this(filtered, metrics, List.of());
  }

  /** Copies maps and list, in their order. */
  public ItemScores {
    filtered = Collections.unmodifiableMap(new LinkedHashMap<>(filtered));
    metrics = Collections.unmodifiableMap(new LinkedHashMap<>(metrics));
    verdicts = List.copyOf(verdicts);
  }
}

package ai.sluice.eval;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What an answer is worth.
 *
 * @param filtered by filter what was taken out of the answer and judged
 * @param metrics by {@code metric,filter}, as in lm-eval's results ({@code acc,none}), the score
 */
public record ItemScores(Map<String, String> filtered, Map<String, Double> metrics) {
  /** Copies the maps, in their order. */
  public ItemScores {
    filtered = Collections.unmodifiableMap(new LinkedHashMap<>(filtered));
    metrics = Collections.unmodifiableMap(new LinkedHashMap<>(metrics));
  }
}

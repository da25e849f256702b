package ai.sluice.eval;

import java.util.List;

/**
 * How an answer is generated: greedily, until a stop text, the model's own end, or a length.
 *
 * @param stops texts that end it and are not part of it
 * @param maxNewTokens the most tokens of an answer
 */
public record GenerationSettings(List<String> stops, int maxNewTokens) {
  /** Copies the list. */
  public GenerationSettings {
    stops = List.copyOf(stops);
  }
}

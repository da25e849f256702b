package ai.sluice.eval.run;

import ai.sluice.eval.GenerationSettings;
import java.util.List;

/**
 * What a model was asked for an item.
 *
 * @param prompt as it was sent
 * @param continuations of which it was to choose; empty: an answer was generated
 * @param settings how; looked at only without continuations
 */
public record SentPrompt(
    String prompt, List<String> continuations, GenerationSettings settings) {
  /** Copies the list. */
  public SentPrompt {
    continuations = List.copyOf(continuations);
  }
}

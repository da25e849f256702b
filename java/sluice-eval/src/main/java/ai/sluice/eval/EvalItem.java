package ai.sluice.eval;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * One question of a task as a model is asked.
 *
 * @param task the task, of a group the subject's, as lm-eval names it: {@code mmlu_anatomy}
 * @param index of the item in its file, from 0
 * @param prompt what is asked
 * @param continuations the texts among which log-probabilities choose, each with the space that
 *     parts it from a plain prompt; empty: an answer is generated
 * @param target the right answer: of choices its number as text, else what the answer is held
 *     against
 * @param doc the item as its data set has it, in the order of its fields: texts, whole numbers,
 *     lists of texts
 */
public record EvalItem(
    String task,
    int index,
    EvalPrompt prompt,
    List<String> continuations,
    String target,
    Map<String, Object> doc) {
  /** Copies the collections. */
  public EvalItem {
    continuations = List.copyOf(continuations);
    doc = Collections.unmodifiableMap(new LinkedHashMap<>(doc));
  }

  /** The plain prompt, byte for byte. */
  public String context() {
    return prompt.text();
  }
}

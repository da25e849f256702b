package ai.sluice.eval;

import java.util.List;

/**
 * One question of a task as a model is asked.
 *
 * @param task the task, of a group the subject's, as lm-eval names it: {@code mmlu_anatomy}
 * @param index of the item in its file, from 0
 * @param context the prompt, byte for byte
 * @param continuations the texts among which log-probabilities choose; empty: an answer is
 *     generated
 * @param target the right answer: of choices its number as text, else what the answer is held
 *     against
 */
public record EvalItem(
    String task, int index, String context, List<String> continuations, String target) {
  /** Copies the list. */
  public EvalItem {
    continuations = List.copyOf(continuations);
  }
}

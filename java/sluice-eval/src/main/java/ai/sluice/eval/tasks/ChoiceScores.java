package ai.sluice.eval.tasks;

import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.ItemScores;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Scores of a choice by log-probabilities, as lm-eval 0.4.13 has them. */
final class ChoiceScores {
  private ChoiceScores() {}

  /**
   * The scores of an answer.
   *
   * @param normalized whether the likelihood a character counts too ({@code acc_norm})
   */
  static ItemScores of(EvalItem item, EvalAnswer answer, boolean normalized) {
    int right = Integer.parseInt(item.target());
    Map<String, Double> metrics = new LinkedHashMap<>();
    metrics.put("acc,none", answer.best() == right ? 1.0 : 0.0);
    if (normalized) {
      metrics.put("acc_norm,none", bestPerCharacter(item, answer) == right ? 1.0 : 0.0);
    }
    return new ItemScores(Map.of("none", String.valueOf(answer.best())), metrics);
  }

  // Characters are code points, the space before the choice not among them.
  private static int bestPerCharacter(EvalItem item, EvalAnswer answer) {
    int best = 0;
    double most = Double.NEGATIVE_INFINITY;
    List<String> texts = item.continuations();
    for (int i = 0; i < texts.size(); i++) {
      int length = texts.get(i).codePointCount(0, texts.get(i).length()) - 1;
      double each = answer.choices().get(i).logprob() / length;
      if (each > most) {
        most = each;
        best = i;
      }
    }
    return best;
  }
}

package ai.sluice.eval.compare;

import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.run.ItemRecord;
import java.util.List;

/** Answers in few words. */
final class Answers {
  /** Before the result of GSM8K's answers. */
  private static final String RESULT = "#### ";

  private Answers() {}

  /** What an item's metric was computed from: a letter, what a filter took out, or the text. */
  static String of(ItemRecord item, String metric) {
    EvalAnswer answer = item.answer();
    if (!answer.choices().isEmpty()) {
      return letter(metric.startsWith("acc_norm") ? bestPerCharacter(item) : answer.best());
    }
    String filter = metric.substring(metric.indexOf(',') + 1);
    String filtered = item.scores().filtered().get(filter);
    // Code is a filter's whole answer: its lines say more than their first one alone.
    return filtered != null && filtered.indexOf('\n') < 0
        ? filtered
        : answer.texts().isEmpty() ? "" : answer.texts().get(0);
  }

  /** The right answer: a letter, or a text, of a worked-out one its end; empty for a program. */
  static String target(ItemRecord item) {
    if (!item.answer().choices().isEmpty()) {
      return letter(Integer.parseInt(item.target()));
    }
    int end = item.target().lastIndexOf(RESULT);
    String target = end < 0 ? item.target() : item.target().substring(end + RESULT.length());
    return target.strip().indexOf('\n') < 0 ? target.strip() : "";
  }

  static String firstLine(String text) {
    return text.lines().map(String::strip).filter(line -> !line.isEmpty()).findFirst().orElse("");
  }

  private static String letter(int choice) {
    return choice < 26 ? String.valueOf((char) ('A' + choice)) : String.valueOf(choice);
  }

  private static int bestPerCharacter(ItemRecord item) {
    List<EvalAnswer.Choice> choices = item.answer().choices();
    if (!(item.doc().get("choices") instanceof List<?> texts) || texts.size() != choices.size()) {
      return item.answer().best();
    }
    int best = 0;
    double most = Double.NEGATIVE_INFINITY;
    for (int i = 0; i < choices.size(); i++) {
      String text = String.valueOf(texts.get(i));
      double each = choices.get(i).logprob() / text.codePointCount(0, text.length());
      if (each > most) {
        most = each;
        best = i;
      }
    }
    return best;
  }
}

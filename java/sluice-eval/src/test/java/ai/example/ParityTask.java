package ai.example;

import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalPrompt;
import ai.sluice.eval.EvalTask;
import ai.sluice.eval.ItemScores;
import ai.sluice.eval.sandbox.CodeRunner;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** A user's own task, as the documentation shows it: is a number even or odd? */
public final class ParityTask implements EvalTask {
  private static final List<String> CHOICES = List.of(" even", " odd");

  @Override
  public String name() {
    return "parity";
  }

  @Override
  public String description() {
    return "100 numbers, even or odd";
  }

  @Override
  public String version() {
    return "1";
  }

  @Override
  public int defaultShots() {
    return 2;
  }

  @Override
  public List<EvalItem> items(Path data, int shots) {
    List<EvalPrompt.Shot> examples = new ArrayList<>();
    for (int number = 0; number < shots; number++) {
      examples.add(new EvalPrompt.Shot(question(number), CHOICES.get(number % 2).strip()));
    }
    List<EvalItem> items = new ArrayList<>();
    for (int number = 100; number < 200; number++) {
      items.add(
          new EvalItem(
              name(), items.size(), EvalPrompt.of("", examples, question(number)), CHOICES,
              String.valueOf(number % 2), Map.of("number", number)));
    }
    return items;
  }

  private static String question(int number) {
    return "The number " + number + " is";
  }

  @Override
  public List<Path> files(Path data) {
    return List.of();
  }

  @Override
  public ItemScores scores(EvalItem item, EvalAnswer answer, CodeRunner runner) {
    int best = answer.best();
    double right = item.target().equals(String.valueOf(best)) ? 1 : 0;
    return new ItemScores(Map.of("none", CHOICES.get(best)), Map.of("acc,none", right));
  }
}

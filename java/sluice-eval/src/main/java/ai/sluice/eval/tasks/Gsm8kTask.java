package ai.sluice.eval.tasks;

import ai.sluice.eval.DataFiles;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalTask;
import ai.sluice.eval.PythonRandom;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * GSM8K (Cobbe et al. 2021) as lm-eval 0.4.13 asks it (version 3.0): examples drawn for each item
 * from the training set by one generator of seed 1234, in the order of the items.
 */
public final class Gsm8kTask implements EvalTask {
  @Override
  public String name() {
    return "gsm8k";
  }

  @Override
  public String description() {
    return "word problems, answers in the training set's own format";
  }

  @Override
  public int defaultShots() {
    return 5;
  }

  private static final int SEED = 1234;

  @Override
  public List<EvalItem> items(Path data, int shots) {
    Shots.check(name(), shots, 64);
    Path folder = data.resolve("gsm8k");
    List<List<String>> train =
        DataFiles.jsonLines(folder.resolve("train.jsonl"), "question", "answer");
    PythonRandom random = new PythonRandom(SEED);
    List<EvalItem> items = new ArrayList<>();
    Path test = folder.resolve("test.jsonl");
    for (List<String> row : DataFiles.jsonLines(test, "question", "answer")) {
      StringBuilder context = new StringBuilder();
      for (int at : shots == 0 ? new int[0] : random.sample(train.size(), shots)) {
        context.append(question(train.get(at).get(0))).append(' ');
        context.append(train.get(at).get(1)).append("\n\n");
      }
      context.append(question(row.get(0)));
      items.add(new EvalItem(name(), items.size(), context.toString(), List.of(), row.get(1)));
    }
    return items;
  }

  private static String question(String text) {
    return "Question: " + text + "\nAnswer:";
  }
}

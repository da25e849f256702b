package ai.sluice.eval.tasks;

import ai.sluice.eval.DataFiles;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalTask;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** HumanEval (Chen et al. 2021) as lm-eval 0.4.13 asks it (version 1.0). */
public final class HumanEvalTask implements EvalTask {
  @Override
  public String name() {
    return "humaneval";
  }

  @Override
  public String description() {
    return "164 Python functions to complete";
  }

  @Override
  public int defaultShots() {
    return 0;
  }

  @Override
  public List<EvalItem> items(Path data, int shots) {
    Shots.check(name(), shots, 0);
    List<EvalItem> items = new ArrayList<>();
    Path file = data.resolve("humaneval").resolve("HumanEval.jsonl");
    for (List<String> row : DataFiles.jsonLines(file, "prompt", "test", "entry_point")) {
      String checks = row.get(1) + "\ncheck(" + row.get(2) + ")";
      items.add(new EvalItem(name(), items.size(), row.get(0), List.of(), checks));
    }
    return items;
  }
}

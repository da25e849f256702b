package ai.sluice.eval.tasks;

import ai.sluice.eval.DataFiles;
import ai.sluice.eval.EvalItem;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;

/** HumanEval (Chen et al. 2021): {@code humaneval/HumanEval.jsonl}, a function to write a line. */
final class HumanEvalData {
  private HumanEvalData() {}

  /**
   * The items of a variant.
   *
   * @param context what is asked, of the beginning of a function
   */
  static List<EvalItem> items(Path data, int shots, String task, UnaryOperator<String> context) {
    Shots.check(task, shots, 0);
    List<EvalItem> items = new ArrayList<>();
    Path file = data.resolve("humaneval").resolve("HumanEval.jsonl");
    for (List<String> row : DataFiles.jsonLines(file, "prompt", "test", "entry_point")) {
      String checks = row.get(1) + "\ncheck(" + row.get(2) + ")";
      items.add(new EvalItem(task, items.size(), context.apply(row.get(0)), List.of(), checks));
    }
    return items;
  }
}

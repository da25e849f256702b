package ai.sluice.eval.tasks;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.DataFiles;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalTask;
import ai.sluice.text.PythonText;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * GSM8K with the eight worked examples of Wei et al. 2022 (table 20), as lm-eval 0.4.13 asks it
 * (version 3.0).
 */
public final class Gsm8kCotTask implements EvalTask {
  @Override
  public String name() {
    return "gsm8k_cot";
  }

  @Override
  public String description() {
    return "word problems behind worked examples in words";
  }

  @Override
  public int defaultShots() {
    return 8;
  }

  @Override
  public List<EvalItem> items(Path data, int shots) {
    List<List<String>> examples =
        DataFiles.jsonLines(Gsm8kCotTask.class, "gsm8k_cot.jsonl", "question", "answer");
    Shots.check(name(), shots, examples.size());
    StringBuilder header = new StringBuilder();
    for (List<String> example : examples.subList(0, shots)) {
      header.append(question(example.get(0))).append(' ').append(example.get(1)).append("\n\n");
    }
    List<EvalItem> items = new ArrayList<>();
    Path test = data.resolve("gsm8k").resolve("test.jsonl");
    for (List<String> row : DataFiles.jsonLines(test, "question", "answer")) {
      items.add(
          new EvalItem(
              name(), items.size(), header + question(row.get(0)), List.of(),
              number(test, items.size(), row.get(1))));
    }
    return items;
  }

  private static String number(Path file, int index, String answer) {
    int at = answer.lastIndexOf("####");
    if (at < 0) {
      throw new InvalidRequestException(
          file + ", item " + index + ": an answer without #### (remedy: fetch the file again)");
    }
    return PythonText.strip(answer.substring(at + 4));
  }

  private static String question(String text) {
    return "Q: " + text + "\nA:";
  }
}

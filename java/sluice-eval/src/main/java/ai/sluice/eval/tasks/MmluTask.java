package ai.sluice.eval.tasks;

import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalTask;
import ai.sluice.eval.ItemScores;
import ai.sluice.eval.sandbox.CodeRunner;
import ai.sluice.text.PythonText;
import java.nio.file.Path;
import java.util.List;

/** MMLU as lm-eval 0.4.13 asks it (version 1.0): the letter of the right choice. */
public final class MmluTask implements EvalTask {
  @Override
  public String name() {
    return "mmlu";
  }

  @Override
  public String description() {
    return "57 subjects, four choices, the letter of the right one";
  }

  @Override
  public String version() {
    return "1.0";
  }

  @Override
  public int defaultShots() {
    return 0;
  }

  @Override
  public int publishedShots() {
    return 5;
  }

  @Override
  public List<EvalItem> items(Path data, int shots) {
    return MmluData.items(
        data,
        shots,
        name(),
        new MmluData.Style(
            "",
            "The following are multiple choice questions (with answers) about %s.\n\n",
            row -> MmluData.lettered(PythonText.strip(row.question()), row.choices()),
            MmluData::letter,
            row -> MmluData.letters()));
  }

  @Override
  public List<Path> files(Path data) {
    return MmluData.files(data);
  }

  @Override
  public ItemScores scores(EvalItem item, EvalAnswer answer, CodeRunner runner) {
    return ChoiceScores.of(item, answer, false);
  }
}

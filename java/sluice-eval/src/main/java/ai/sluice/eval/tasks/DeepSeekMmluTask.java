package ai.sluice.eval.tasks;

import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalTask;
import ai.sluice.eval.ItemScores;
import ai.sluice.eval.sandbox.CodeRunner;
import java.nio.file.Path;
import java.util.List;

/**
 * MMLU in the format of the DeepSeek-V2 paper (table 29): that of the data set's authors, with 5
 * examples. The paper's typesetting hides white space, which is therefore that of the authors'
 * program: two spaces before the subject, questions as they are.
 */
public final class DeepSeekMmluTask implements EvalTask {
  @Override
  public String name() {
    return "mmlu";
  }

  @Override
  public String description() {
    return "57 subjects, the prompt of the data set's authors";
  }

  @Override
  public String version() {
    return "deepseek 1";
  }

  @Override
  public int defaultShots() {
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
            "The following are multiple choice questions (with answers) about  %s.\n\n",
            row -> MmluData.lettered(row.question(), row.choices()),
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

package ai.sluice.eval.tasks;

import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalTask;
import ai.sluice.eval.ItemScores;
import ai.sluice.eval.sandbox.CodeRunner;
import ai.sluice.text.PythonText;
import java.nio.file.Path;
import java.util.List;

/** MMLU with the choices themselves as continuations, as lm-eval 0.4.13 (version 1.0). */
public final class MmluContinuationTask implements EvalTask {
  @Override
  public String name() {
    return "mmlu_continuation";
  }

  @Override
  public String description() {
    return "57 subjects, the likeliest of four texts";
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
            "_continuation",
            "The following are questions (with answers) about %s.\n\n",
            row -> "Question: " + PythonText.strip(row.question()) + "\nAnswer:",
            row -> row.choices().get(row.answer()),
            row -> row.choices().stream().map(choice -> " " + choice).toList()));
  }

  @Override
  public List<Path> files(Path data) {
    return MmluData.files(data);
  }

  @Override
  public ItemScores scores(EvalItem item, EvalAnswer answer, CodeRunner runner) {
    return ChoiceScores.of(item, answer, true);
  }
}

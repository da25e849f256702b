package ai.sluice.eval.tasks;

import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalPrompt;
import ai.sluice.eval.EvalTask;
import ai.sluice.eval.GenerationSettings;
import ai.sluice.eval.ItemScores;
import ai.sluice.eval.sandbox.CodeRunner;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;

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
  public String version() {
    return "1.0";
  }

  @Override
  public int defaultShots() {
    return 0;
  }

  @Override
  public boolean takesShots() {
    return false;
  }

  @Override
  public List<EvalItem> items(Path data, int shots) {
    return HumanEvalData.items(data, shots, name(), prompt -> EvalPrompt.of("", List.of(), prompt));
  }

  @Override
  public List<Path> files(Path data) {
    return List.of(HumanEvalData.file(data));
  }

  @Override
  public Optional<GenerationSettings> generation() {
    return Optional.of(HumanEvalData.GENERATION);
  }

  @Override
  public boolean runsCode() {
    return true;
  }

  @Override
  public ItemScores scores(EvalItem item, EvalAnswer answer, CodeRunner runner) {
    return HumanEvalData.scores(item, answer, runner, UnaryOperator.identity());
  }
}

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

/** HumanEval (Chen et al. 2021) as lm-eval 0.4.13 asks it (version 4.0). */
public final class HumanEvalInstructTask implements EvalTask {
  @Override
  public String name() {
    return "humaneval_instruct";
  }

  @Override
  public String description() {
    return "164 Python functions, asked for in words";
  }

  @Override
  public String version() {
    return "4.0";
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
    return HumanEvalData.items(data, shots, name(), HumanEvalInstructTask::instruction);
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
    return HumanEvalData.scores(item, answer, runner, HumanEvalInstructTask::code);
  }

  private static EvalPrompt instruction(String prompt) {
    return new EvalPrompt(
        "",
        List.of(),
        "Write a solution to the following problem and make sure that it passes the tests:\n"
            + "```python\n" + prompt + "\n```\n",
        "Here is the completed function:\n```python\n" + prompt + "\n");
  }

  // The answer goes on inside a fence; what follows the closing one is talk.
  private static String code(String answer) {
    int end = answer.indexOf("```");
    return end < 0 ? answer : answer.substring(0, end);
  }
}

package ai.sluice.eval.tasks;

import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalTask;
import java.nio.file.Path;
import java.util.List;

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
  public int defaultShots() {
    return 0;
  }

  @Override
  public List<EvalItem> items(Path data, int shots) {
    return HumanEvalData.items(data, shots, name(), HumanEvalInstructTask::instruction);
  }

  private static String instruction(String prompt) {
    return "Write a solution to the following problem and make sure that it passes the tests:\n"
        + "```python\n" + prompt + "\n```\n"
        + "Here is the completed function:\n```python\n" + prompt + "\n";
  }
}

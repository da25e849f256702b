package ai.sluice.eval.tasks;

import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalTask;
import java.nio.file.Path;
import java.util.List;
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
  public int defaultShots() {
    return 0;
  }

  @Override
  public List<EvalItem> items(Path data, int shots) {
    return HumanEvalData.items(data, shots, name(), UnaryOperator.identity());
  }
}

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

/**
 * GSM8K in the format of the DeepSeek-V2 paper (table 24): its eight worked examples, and an answer
 * that begins with "Let's think step by step.". How the paper ends and reads answers is not
 * published: stops, length and filters are those of {@code gsm8k_cot}.
 */
public final class DeepSeekGsm8kTask implements EvalTask {
  private static final String BEGIN = "Let's think step by step.";

  private final Gsm8kCotTask cot = new Gsm8kCotTask();

  @Override
  public String name() {
    return "gsm8k";
  }

  @Override
  public String description() {
    return "word problems, answered step by step behind 8 examples";
  }

  @Override
  public String version() {
    return "deepseek 1";
  }

  @Override
  public int defaultShots() {
    return 8;
  }

  @Override
  public List<EvalItem> items(Path data, int shots) {
    return Gsm8kCotTask.items(
        name(), data, shots, "gsm8k_deepseek.jsonl",
        (examples, question) -> new EvalPrompt("", examples, question, BEGIN));
  }

  @Override
  public List<Path> files(Path data) {
    return cot.files(data);
  }

  @Override
  public Optional<GenerationSettings> generation() {
    return cot.generation();
  }

  @Override
  public ItemScores scores(EvalItem item, EvalAnswer answer, CodeRunner runner) {
    return cot.scores(item, answer, runner);
  }
}

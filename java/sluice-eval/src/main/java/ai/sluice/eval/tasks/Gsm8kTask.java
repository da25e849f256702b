package ai.sluice.eval.tasks;

import ai.sluice.eval.DataFiles;
import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalPrompt;
import ai.sluice.eval.EvalTask;
import ai.sluice.eval.GenerationSettings;
import ai.sluice.eval.ItemScores;
import ai.sluice.eval.PythonRandom;
import ai.sluice.eval.metrics.Gsm8kFilter;
import ai.sluice.eval.sandbox.CodeRunner;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * GSM8K (Cobbe et al. 2021) as lm-eval 0.4.13 asks it (version 3.0): examples drawn for each item
 * from the training set by one generator of seed 1234, in the order of the items.
 */
public final class Gsm8kTask implements EvalTask {
  private static final int SEED = 1234;
  private static final int MAX_NEW_TOKENS = 256;

  @Override
  public String name() {
    return "gsm8k";
  }

  @Override
  public String description() {
    return "word problems, answers in the training set's own format";
  }

  @Override
  public String version() {
    return "3.0";
  }

  @Override
  public int defaultShots() {
    return 5;
  }

  @Override
  public List<EvalItem> items(Path data, int shots) {
    Shots.check(name(), shots, 64);
    Path folder = data.resolve("gsm8k");
    List<DataFiles.Row> train =
        DataFiles.jsonLines(folder.resolve("train.jsonl"), "question", "answer");
    PythonRandom random = new PythonRandom(SEED);
    List<EvalItem> items = new ArrayList<>();
    Path test = folder.resolve("test.jsonl");
    for (DataFiles.Row row : DataFiles.jsonLines(test, "question", "answer")) {
      List<EvalPrompt.Shot> examples = new ArrayList<>();
      for (int at : shots == 0 ? new int[0] : random.sample(train.size(), shots)) {
        examples.add(new EvalPrompt.Shot(question(train.get(at).get(0)), train.get(at).get(1)));
      }
      items.add(
          new EvalItem(
              name(), items.size(), EvalPrompt.of("", examples, question(row.get(0))), List.of(),
              Gsm8kScores.answer(row), Gsm8kScores.doc(row)));
    }
    return items;
  }

  @Override
  public List<Path> files(Path data) {
    return Gsm8kScores.files(data, "train.jsonl", "test.jsonl");
  }

  @Override
  public Optional<GenerationSettings> generation() {
    return Optional.of(
        new GenerationSettings(List.of("Question:", "</s>", "<|im_end|>"), MAX_NEW_TOKENS));
  }

  @Override
  public ItemScores scores(EvalItem item, EvalAnswer answer, CodeRunner runner) {
    return Gsm8kScores.of(item, answer, Gsm8kFilter.STRICT_HASHES);
  }

  private static String question(String text) {
    return "Question: " + text + "\nAnswer:";
  }
}

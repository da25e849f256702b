package ai.sluice.eval.tasks;

import ai.sluice.eval.DataFiles;
import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalPrompt;
import ai.sluice.eval.EvalTask;
import ai.sluice.eval.GenerationSettings;
import ai.sluice.eval.ItemScores;
import ai.sluice.eval.metrics.Gsm8kFilter;
import ai.sluice.eval.sandbox.CodeRunner;
import ai.sluice.text.PythonText;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.BiFunction;

/**
 * GSM8K with the eight worked examples of Wei et al. 2022 (table 20), as lm-eval 0.4.13 asks it
 * (version 3.0).
 */
public final class Gsm8kCotTask implements EvalTask {
  private static final int MAX_NEW_TOKENS = 256;

  @Override
  public String name() {
    return "gsm8k_cot";
  }

  @Override
  public String description() {
    return "word problems behind worked examples in words";
  }

  @Override
  public String version() {
    return "3.0";
  }

  @Override
  public int defaultShots() {
    return 8;
  }

  @Override
  public List<EvalItem> items(Path data, int shots) {
    return items(
        name(), data, shots, "gsm8k_cot.jsonl",
        (examples, question) -> EvalPrompt.of("", examples, question));
  }

  /**
   * The items behind worked examples that are the same for all.
   *
   * @param resource the examples
   * @param asked what is asked, of the examples and a question
   */
  static List<EvalItem> items(
      String task,
      Path data,
      int shots,
      String resource,
      BiFunction<List<EvalPrompt.Shot>, String, EvalPrompt> asked) {
    List<DataFiles.Row> all =
        DataFiles.jsonLines(Gsm8kCotTask.class, resource, "question", "answer");
    Shots.check(task, shots, all.size());
    List<EvalPrompt.Shot> examples = new ArrayList<>();
    for (DataFiles.Row example : all.subList(0, shots)) {
      examples.add(new EvalPrompt.Shot(question(example.get(0)), example.get(1)));
    }
    List<EvalItem> items = new ArrayList<>();
    Path test = data.resolve("gsm8k").resolve("test.jsonl");
    for (DataFiles.Row row : DataFiles.jsonLines(test, "question", "answer")) {
      items.add(
          new EvalItem(
              task, items.size(), asked.apply(examples, question(row.get(0))), List.of(),
              number(row), Gsm8kScores.doc(row)));
    }
    return items;
  }

  private static String number(DataFiles.Row row) {
    String answer = Gsm8kScores.answer(row);
    return PythonText.strip(answer.substring(answer.lastIndexOf("####") + 4));
  }

  @Override
  public List<Path> files(Path data) {
    return Gsm8kScores.files(data, "test.jsonl");
  }

  @Override
  public Optional<GenerationSettings> generation() {
    return Optional.of(
        new GenerationSettings(List.of("Q:", "</s>", "<|im_end|>"), MAX_NEW_TOKENS));
  }

  @Override
  public ItemScores scores(EvalItem item, EvalAnswer answer, CodeRunner runner) {
    return Gsm8kScores.of(item, answer, Gsm8kFilter.STRICT_ANSWER_IS);
  }

  private static String question(String text) {
    return "Q: " + text + "\nA:";
  }
}

package ai.sluice.eval.tasks;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.DataFiles;
import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalPrompt;
import ai.sluice.eval.GenerationSettings;
import ai.sluice.eval.ItemScores;
import ai.sluice.eval.metrics.PassAtK;
import ai.sluice.eval.sandbox.CodeRunner;
import ai.sluice.eval.sandbox.Verdict;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.UnaryOperator;

/** HumanEval (Chen et al. 2021): {@code humaneval/HumanEval.jsonl}, a function to write a line. */
final class HumanEvalData {
  private static final String[] FIELDS = {
    "task_id", "prompt", "canonical_solution", "test", "entry_point"
  };
  private static final String FILTER = "create_test";

  /** Both variants stop where something follows the function, and have the same length. */
  static final GenerationSettings GENERATION =
      new GenerationSettings(List.of("\nclass", "\ndef", "\n#", "\nif", "\nprint"), 1024);

  private HumanEvalData() {}

  /**
   * The items of a variant.
   *
   * @param asked what is asked, of the beginning of a function
   */
  static List<EvalItem> items(
      Path data, int shots, String task, Function<String, EvalPrompt> asked) {
    Shots.check(task, shots, 0);
    List<EvalItem> items = new ArrayList<>();
    for (DataFiles.Row row : DataFiles.jsonLines(file(data), FIELDS)) {
      Map<String, Object> doc = new LinkedHashMap<>();
      for (int i = 0; i < FIELDS.length; i++) {
        doc.put(FIELDS[i], row.get(i));
      }
      if (row.get(1).isBlank() || row.get(3).isBlank() || row.get(4).isBlank()) {
        throw new InvalidRequestException(
            row.where() + ": an empty prompt, test or entry_point (expected: all three; remedy:"
                + " fetch the file again)");
      }
      String checks = row.get(3) + "\ncheck(" + row.get(4) + ")";
      items.add(
          new EvalItem(task, items.size(), asked.apply(row.get(1)), List.of(), checks, doc));
    }
    return items;
  }

  static Path file(Path data) {
    return DataFiles.located(data.resolve("humaneval").resolve("HumanEval.jsonl"));
  }

  /**
   * The share of answers whose program passes.
   *
   * @param code what of an answer belongs to the program
   */
  static ItemScores scores(
      EvalItem item, EvalAnswer answer, CodeRunner runner, UnaryOperator<String> code) {
    String prompt = (String) item.doc().get("prompt");
    int passed = 0;
    String first = "";
    List<String> verdicts = new ArrayList<>();
    for (String text : answer.texts()) {
      String solution = prompt + code.apply(text);
      first = first.isEmpty() ? solution : first;
      Verdict verdict = runner.run(solution + "\n" + item.target());
      passed += verdict.passed() ? 1 : 0;
      verdicts.add(verdict.toText());
    }
    double score = PassAtK.estimate(answer.texts().size(), passed, 1);
    return new ItemScores(Map.of(FILTER, first), Map.of("pass@1," + FILTER, score), verdicts);
  }
}

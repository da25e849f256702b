package ai.sluice.eval.tasks;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.DataFiles;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalPrompt;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Stream;

/**
 * MMLU (Hendrycks et al. 2020): folders {@code mmlu/dev} and {@code mmlu/test} with one file a
 * subject, each row a question, four choices and the letter of the right one.
 */
final class MmluData {
  private static final String LETTERS = "ABCD";

  /** A row; its question and choices as they are. */
  record Row(String question, List<String> choices, int answer) {}

  /** How a variant words the parts of a prompt. */
  record Style(
      String suffix,
      String description,
      Function<Row, String> question,
      Function<Row, String> answer,
      Function<Row, List<String>> continuations) {}

  private MmluData() {}

  static List<EvalItem> items(Path data, int shots, String task, Style style) {
    Shots.check(task, shots, 5);
    Path folder = data.resolve("mmlu");
    List<EvalItem> items = new ArrayList<>();
    for (String subject : subjects(folder.resolve("test"))) {
      String description = String.format(style.description(), subject.replace('_', ' '));
      List<Row> examples = rows(folder.resolve("dev").resolve(subject + "_dev.csv"));
      if (examples.size() < shots) {
        throw new InvalidRequestException(
            "num-fewshot: " + shots + " (expected: at most the " + examples.size() + " examples of "
                + subject + ")");
      }
      List<EvalPrompt.Shot> worked =
          examples.subList(0, shots).stream()
              .map(row -> new EvalPrompt.Shot(style.question.apply(row), style.answer.apply(row)))
              .toList();
      int index = 0;
      for (Row row : rows(folder.resolve("test").resolve(subject + "_test.csv"))) {
        items.add(
            new EvalItem(
                "mmlu_" + subject + style.suffix(), index++,
                EvalPrompt.of(description, worked, style.question().apply(row)),
                style.continuations().apply(row), String.valueOf(row.answer()),
                doc(subject, row)));
      }
    }
    return items;
  }

  /** All files, those of a subject side by side. */
  static List<Path> files(Path data) {
    Path folder = data.resolve("mmlu");
    List<Path> out = new ArrayList<>();
    for (String subject : subjects(folder.resolve("test"))) {
      out.add(folder.resolve("dev").resolve(subject + "_dev.csv"));
      out.add(folder.resolve("test").resolve(subject + "_test.csv"));
    }
    return out;
  }

  private static Map<String, Object> doc(String subject, Row row) {
    Map<String, Object> doc = new LinkedHashMap<>();
    doc.put("question", row.question());
    doc.put("subject", subject);
    doc.put("choices", row.choices());
    doc.put("answer", row.answer());
    return doc;
  }

  /** A question with its choices behind letters. */
  static String lettered(String question, List<String> choices) {
    return question
        + "\nA. " + choices.get(0)
        + "\nB. " + choices.get(1)
        + "\nC. " + choices.get(2)
        + "\nD. " + choices.get(3)
        + "\nAnswer:";
  }

  static String letter(Row row) {
    return LETTERS.substring(row.answer(), row.answer() + 1);
  }

  static List<String> letters() {
    return List.of(" A", " B", " C", " D");
  }

  private static List<String> subjects(Path folder) {
    try (Stream<Path> files = Files.list(folder)) {
      List<String> found =
          files
              .map(file -> file.getFileName().toString())
              .filter(name -> name.endsWith("_test.csv"))
              .map(name -> name.substring(0, name.length() - "_test.csv".length()))
              .sorted()
              .toList();
      if (!found.isEmpty()) {
        return found;
      }
      throw new InvalidRequestException(
          folder + ": no SUBJECT_test.csv (expected: MMLU's test files; remedy: --data FOLDER names"
              + " the folder that holds mmlu)");
    } catch (IOException e) {
      throw new InvalidRequestException(DataFiles.unreadable(folder, e), e);
    }
  }

  private static List<Row> rows(Path file) {
    List<Row> out = new ArrayList<>();
    for (DataFiles.Row fields : DataFiles.csv(file, 6)) {
      int answer = fields.get(5).length() == 1 ? LETTERS.indexOf(fields.get(5)) : -1;
      if (answer < 0) {
        throw new InvalidRequestException(
            fields.where() + ": answer \"" + fields.get(5)
                + "\" (expected: A, B, C or D; remedy: fetch the file again)");
      }
      out.add(new Row(fields.get(0), fields.values().subList(1, 5), answer));
    }
    return out;
  }
}

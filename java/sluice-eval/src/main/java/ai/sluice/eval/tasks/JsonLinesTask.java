package ai.sluice.eval.tasks;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.DataFiles;
import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalPrompt;
import ai.sluice.eval.EvalTask;
import ai.sluice.eval.GenerationSettings;
import ai.sluice.eval.ItemScores;
import ai.sluice.eval.sandbox.CodeRunner;
import ai.sluice.text.PythonText;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A user's own questions in a file of JSON lines. Either all have {@code prompt}, {@code choices}
 * and {@code answer}, the number of the right choice from 0: the likeliest choice behind the prompt
 * and a space counts. Or all have {@code prompt} and {@code answer}, a text: what is generated up
 * to the end of the line is held against it, without the white space around both.
 */
public final class JsonLinesTask implements EvalTask {
  /** How the name of such a file ends. */
  public static final String SUFFIX = ".jsonl";

  private static final int MAX_NEW_TOKENS = 256;

  private final Path file;
  private final String name;
  private final boolean chosen;
  private final List<EvalItem> items;

  /**
   * A task of a file, with the file's name. The file is read here.
   *
   * @throws InvalidRequestException when it is missing or malformed, or its name has other
   *     characters than letters, digits, _ and -, which names of tasks and folders are made of
   */
  public JsonLinesTask(Path file) {
    this.file = file;
    String last = String.valueOf(file.getFileName());
    this.name = last.substring(0, last.length() - SUFFIX.length());
    if (!name.matches("[A-Za-z0-9_-]+")) {
      throw new InvalidRequestException(
          "task: " + file + " (expected: a file name of letters, digits, _ and - before " + SUFFIX
              + "; remedy: rename it)");
    }
    Map<String, Map<String, Object>> lines = DataFiles.jsonObjects(file);
    chosen =
        lines.values().stream()
            .findFirst()
            .orElseThrow(
                () ->
                    new InvalidRequestException(
                        file + ": empty (expected: a JSON object a line)"))
            .containsKey("choices");
    List<EvalItem> read = new ArrayList<>();
    lines.forEach((where, line) -> read.add(item(where, line, read.size())));
    items = List.copyOf(read);
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String description() {
    return "questions of " + file;
  }

  @Override
  public String version() {
    return "1";
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
    Shots.check(name, shots, 0);
    return items;
  }

  private EvalItem item(String where, Map<String, Object> line, int index) {
    if (line.containsKey("choices") != chosen) {
      throw new InvalidRequestException(
          where + ": " + (chosen ? "no choices" : "choices")
              + ", unlike the first line (expected: all lines with them, or none)");
    }
    return chosen ? choice(where, line, index) : open(where, line, index);
  }

  private EvalItem choice(String where, Map<String, Object> line, int index) {
    List<String> choices = new ArrayList<>();
    if (line.get("choices") instanceof List<?> list) {
      list.forEach(each -> choices.add(each instanceof String text ? " " + text : ""));
    }
    if (choices.size() < 2 || choices.stream().anyMatch(text -> text.isBlank())) {
      throw wrong(where, line, "choices", "at least two texts, none empty");
    }
    if (!(line.get("answer") instanceof Integer right) || right < 0 || right >= choices.size()) {
      throw wrong(
          where, line, "answer", "the number of the right choice, 0 to " + (choices.size() - 1));
    }
    return new EvalItem(
        name, index, prompt(where, line), choices, String.valueOf(line.get("answer")), line);
  }

  private EvalItem open(String where, Map<String, Object> line, int index) {
    if (!(line.get("answer") instanceof String answer) || PythonText.strip(answer).isEmpty()) {
      throw wrong(where, line, "answer", "a text that is not empty");
    }
    return new EvalItem(name, index, prompt(where, line), List.of(), answer, line);
  }

  private static EvalPrompt prompt(String where, Map<String, Object> line) {
    if (!(line.get("prompt") instanceof String text) || text.isEmpty()) {
      throw wrong(where, line, "prompt", "a text that is not empty");
    }
    return EvalPrompt.of("", List.of(), text);
  }

  private static InvalidRequestException wrong(
      String where, Map<String, Object> line, String key, String expected) {
    return new InvalidRequestException(
        where + ": " + key + ": " + (line.containsKey(key) ? line.get(key) : "missing")
            + " (expected: " + expected + ")");
  }

  @Override
  public List<Path> files(Path data) {
    return List.of(DataFiles.located(file));
  }

  @Override
  public Optional<GenerationSettings> generation() {
    return chosen
        ? Optional.empty()
        : Optional.of(new GenerationSettings(List.of("\n"), MAX_NEW_TOKENS));
  }

  @Override
  public ItemScores scores(EvalItem item, EvalAnswer answer, CodeRunner runner) {
    if (!item.continuations().isEmpty()) {
      return ChoiceScores.of(item, answer, true);
    }
    String given = PythonText.strip(answer.texts().get(0));
    double right = given.equals(PythonText.strip(item.target())) ? 1 : 0;
    return new ItemScores(Map.of("none", given), Map.of("exact_match,none", right));
  }
}

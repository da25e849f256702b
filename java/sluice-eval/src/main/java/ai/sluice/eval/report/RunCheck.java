package ai.sluice.eval.report;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalPrompt;
import ai.sluice.eval.EvalTask;
import ai.sluice.eval.EvalTasks;
import ai.sluice.eval.ItemScores;
import ai.sluice.eval.PromptStyle;
import ai.sluice.eval.run.EvalRun;
import ai.sluice.eval.run.ItemKey;
import ai.sluice.eval.run.ItemLine;
import ai.sluice.eval.run.ItemRecord;
import ai.sluice.eval.run.RunManifest;
import ai.sluice.eval.sandbox.CodeRunner;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * Derives all that a run claims from its items again, and says what disagrees: scores from answers
 * where that needs no program, results from scores, samples from items.
 */
public final class RunCheck {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final EvalRun run;
  private final List<String> differences = new ArrayList<>();
  private int rescored;
  private int notRescored;

  private RunCheck(EvalRun run) {
    this.run = run;
  }

  /**
   * What came of it.
   *
   * @param differences file, item and field of each; empty: all agrees
   * @param items how many the run has
   * @param rescored items whose scores were derived from their answers
   * @param notRescored items whose scores come from a program or a task that is not here
   */
  public record Result(List<String> differences, int items, int rescored, int notRescored) {
    /** Copies the list. */
    public Result {
      differences = List.copyOf(differences);
    }
  }

  /** Checks a run; reads its folder and changes nothing. */
  public static Result of(EvalRun run) {
    RunCheck check = new RunCheck(run);
    check.items();
    check.scores();
    check.results();
    check.samples();
    return new Result(
        check.differences, run.items().size(), check.rescored, check.notRescored);
  }

  private void differ(String file, String where, Object found, Object expected) {
    differences.add(
        file + (where.isEmpty() ? "" : ", " + where) + ": " + found + " (expected: " + expected
            + ")");
  }

  private void items() {
    if (run.damaged() > 0) {
      differ(EvalRun.ITEMS, "", run.damaged() + " damaged lines", "none");
      damagedLines();
    }
    for (RunManifest.Task task : run.manifest().tasks()) {
      int found = run.items(task.name()).size();
      if (found != task.items()) {
        differ(EvalRun.ITEMS, task.name(), found + " items", task.items());
      }
    }
  }

  private void damagedLines() {
    try {
      byte[] bytes = Files.readAllBytes(run.folder().resolve(EvalRun.ITEMS));
      String[] lines = new String(bytes, StandardCharsets.UTF_8).split("\n");
      for (int i = 0; i < lines.length; i++) {
        if (ItemLine.read(lines[i]).isEmpty()) {
          differ(EvalRun.ITEMS, "line " + (i + 1), "damaged", "an item that fits its checksum");
        }
      }
    } catch (IOException e) {
      differ(EvalRun.ITEMS, "", "cannot be read, " + e.getMessage(), "lines of JSON");
    }
  }

  // Of a run that is not complete nothing else is there yet.
  private void missing(String file) {
    if (run.isComplete()) {
      differ(file, "", "missing", "there, as the run is complete");
    }
  }

  private void scores() {
    PromptStyle style = style();
    Map<String, EvalTask> tasks = new HashMap<>();
    for (EvalTask task : EvalTasks.all(style)) {
      tasks.put(task.name(), task);
    }
    for (ItemRecord item : run.items().values()) {
      EvalTask task = tasks.get(item.group());
      if (task == null || task.runsCode()) {
        notRescored++;
        continue;
      }
      rescored++;
      ItemScores derived = task.scores(asked(item), item.answer(), CodeRunner.NONE);
      if (!derived.equals(item.scores())) {
        differ(
            EvalRun.ITEMS, item.task() + " " + item.index(), item.scores().metrics(),
            derived.metrics() + ", filtered " + derived.filtered());
      }
    }
  }

  private PromptStyle style() {
    String name = run.manifest().identity().getOrDefault("prompt_style", "lm-eval");
    return PromptStyle.named(name);
  }

  // Of its continuations no more than their lengths is needed, and those are the choices'.
  private static EvalItem asked(ItemRecord item) {
    List<String> continuations = new ArrayList<>();
    if (item.doc().get("choices") instanceof List<?> choices) {
      choices.forEach(choice -> continuations.add(" " + choice));
    }
    return new EvalItem(
        item.task(), item.index(), EvalPrompt.of("", List.of(), item.question()), continuations,
        item.target(), item.doc());
  }

  private void results() {
    Path file = run.folder().resolve(RunOutputs.RESULTS);
    if (!Files.exists(file)) {
      missing(RunOutputs.RESULTS);
      return;
    }
    try {
      JsonNode derived = JSON.readTree(ResultsJson.text(run));
      compare("", JSON.readTree(Files.readAllBytes(file)), derived);
    } catch (IOException e) {
      differ(RunOutputs.RESULTS, "", "cannot be read, " + e.getMessage(), "JSON");
    } catch (InvalidRequestException e) {
      differ(EvalRun.ITEMS, "", e.getMessage(), "items that can be summed up");
    }
  }

  private void compare(String path, JsonNode found, JsonNode derived) {
    if (found.isObject() && derived.isObject()) {
      TreeSet<String> names = new TreeSet<>();
      found.fieldNames().forEachRemaining(names::add);
      derived.fieldNames().forEachRemaining(names::add);
      for (String name : names) {
        compare(path + "/" + name, found.path(name), derived.path(name));
      }
    } else if (!found.equals(derived)) {
      differ(RunOutputs.RESULTS, path, told(found), told(derived));
    }
  }

  private static String told(JsonNode node) {
    return node.isMissingNode() ? "nothing" : node.toString();
  }

  private void samples() {
    Map<String, List<ItemRecord>> tasks = new HashMap<>();
    for (ItemRecord item : run.items().values()) {
      tasks.computeIfAbsent(item.task(), name -> new ArrayList<>()).add(item);
    }
    for (String task : new TreeSet<>(tasks.keySet())) {
      Path file = run.folder().resolve(SamplesFile.name(task));
      if (Files.exists(file)) {
        samples(file, tasks.get(task));
      } else {
        missing(SamplesFile.name(task));
      }
    }
    try (DirectoryStream<Path> files =
        Files.newDirectoryStream(run.folder(), SamplesFile.name("*"))) {
      Set<String> strangers = new TreeSet<>();
      files.forEach(file -> strangers.add(String.valueOf(file.getFileName())));
      tasks.keySet().forEach(task -> strangers.remove(SamplesFile.name(task)));
      strangers.forEach(name -> differ(name, "", "samples", "none, the run has no such items"));
    } catch (IOException e) {
      differ(String.valueOf(run.folder()), "", "cannot be read, " + e.getMessage(), "a folder");
    }
  }

  private void samples(Path file, List<ItemRecord> items) {
    String name = String.valueOf(file.getFileName());
    List<String> expected = new ArrayList<>();
    List<ItemKey> keys = new ArrayList<>();
    for (ItemRecord item : items) {
      for (String line : SamplesFile.lines(item, null, null)) {
        expected.add(line.strip());
        keys.add(item.key());
      }
    }
    List<String> found;
    try {
      found = Files.readAllLines(file);
    } catch (IOException e) {
      differ(name, "", "cannot be read, " + e.getMessage(), "lines of JSON");
      return;
    }
    if (found.size() != expected.size()) {
      differ(name, "", found.size() + " lines", expected.size());
      return;
    }
    Iterator<ItemKey> key = keys.iterator();
    for (int i = 0; i < found.size(); i++) {
      sample(name, key.next(), found.get(i), expected.get(i));
    }
  }

  private void sample(String name, ItemKey key, String found, String expected) {
    String where = key.task() + " " + key.index();
    try {
      JsonNode one = JSON.readTree(found);
      JsonNode other = JSON.readTree(expected);
      Set<String> fields = new TreeSet<>();
      one.fieldNames().forEachRemaining(fields::add);
      other.fieldNames().forEachRemaining(fields::add);
      for (String field : fields) {
        JsonNode value = one.path(field);
        boolean same =
            switch (field) {
              case "arguments" -> value.isObject();
              case "prompt_hash" -> value.asText().startsWith(other.path(field).asText());
              default -> value.equals(other.path(field));
            };
        if (!same) {
          differ(name, where + ", " + field, told(value), told(other.path(field)));
        }
      }
      asked(name, where, one);
    } catch (JsonProcessingException e) {
      differ(name, where, "no JSON", "an object");
    }
  }

  // What was sent is not known here; of its prompts the line's hash tells, which begins as the
  // item's. Continuations and settings of generation have no hash.
  private void asked(String name, String where, JsonNode row) {
    String hash = row.path("prompt_hash").asText();
    for (JsonNode sent : row.path("arguments")) {
      String prompt = PythonRepr.sha256(sent.path("arg_0").asText());
      if (!prompt.equals(hash)) {
        differ(name, where + ", arguments", "a prompt with the hash " + prompt, hash);
        return;
      }
    }
  }
}

package ai.sluice.eval.compare;

import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.ItemScores;
import ai.sluice.eval.run.EvalRun;
import ai.sluice.eval.run.ItemLine;
import ai.sluice.eval.run.ItemRecord;
import ai.sluice.eval.run.RunManifest;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Makes folders of runs whose scores are chosen. */
final class MadeRun {
  private final List<RunManifest.Task> tasks = new ArrayList<>();
  private final StringBuilder lines = new StringBuilder();
  private final Map<String, String> environment = new LinkedHashMap<>();
  private final Map<String, String> identity = new LinkedHashMap<>();

  MadeRun with(String name, String value) {
    environment.put(name, value);
    return this;
  }

  MadeRun identity(String name, String value) {
    identity.put(name, value);
    return this;
  }

  MadeRun task(String name, int shots, int items) {
    return task(name, "1.0", shots, items);
  }

  MadeRun task(String name, String version, int shots, int items) {
    tasks.add(new RunManifest.Task(name, version, shots, items));
    return this;
  }

  /** A choice of four: "B" is right; a score of 0 is the answer "D". */
  MadeRun choice(String group, String task, int index, double score) {
    return item(
        new ItemRecord(
            group, task, index, hash(task, index, "p"), "\nQuestion " + index + "?\nA. x", "1",
            Map.of(),
            EvalAnswer.ofChoices(
                List.of(
                    new EvalAnswer.Choice(-9, false), new EvalAnswer.Choice(-2, false),
                    new EvalAnswer.Choice(-9, false),
                    new EvalAnswer.Choice(score == 1 ? -3 : -1, false))),
            new ItemScores(Map.of("none", score == 1 ? "1" : "3"), Map.of("acc,none", score))));
  }

  /** A generated number by two filters; "18" is right. */
  MadeRun number(String task, int index, String prompt, double strict, double flexible) {
    Map<String, String> filtered = new LinkedHashMap<>();
    filtered.put("strict-match", strict == 1 ? "18" : "[invalid]");
    filtered.put("flexible-extract", flexible == 1 ? "18" : "17");
    Map<String, Double> metrics = new LinkedHashMap<>();
    metrics.put("exact_match,strict-match", strict);
    metrics.put("exact_match,flexible-extract", flexible);
    return item(
        new ItemRecord(
            task, task, index, hash(task, index, prompt), "How many?", "9 + 9\n#### 18", Map.of(),
            EvalAnswer.ofText("text"), new ItemScores(filtered, metrics)));
  }

  MadeRun item(ItemRecord item) {
    lines.append(ItemLine.write(item));
    return this;
  }

  private static String hash(String task, int index, String prompt) {
    return task + index + prompt;
  }

  EvalRun write(Path folder) throws IOException {
    Files.createDirectories(folder);
    Files.writeString(
        folder.resolve(EvalRun.MANIFEST),
        new RunManifest(identity, environment, tasks).toJson().toString());
    Files.writeString(folder.resolve(EvalRun.ITEMS), lines);
    return EvalRun.read(folder);
  }
}

package ai.sluice.cli;

import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.ItemScores;
import ai.sluice.eval.run.EvalRun;
import ai.sluice.eval.run.ItemLine;
import ai.sluice.eval.run.ItemRecord;
import ai.sluice.eval.run.RunManifest;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.IntPredicate;

/** Folders of runs of MMLU with answers that are chosen. */
final class MadeRuns {
  private MadeRuns() {}

  /** A run of {@code items} items in four subjects; "B" is right, a wrong answer "D". */
  static Path mmlu(Path folder, String date, int items, IntPredicate right) throws IOException {
    Files.createDirectories(folder);
    StringBuilder lines = new StringBuilder();
    for (int i = 0; i < items; i++) {
      boolean good = right.test(i);
      lines.append(
          ItemLine.write(
              new ItemRecord(
                  "mmlu", "mmlu_subject_" + i % 4, i, "hash" + i,
                  "What is the answer to question " + i + " of a long list of questions?\nA. x",
                  "1", Map.of(),
                  EvalAnswer.ofChoices(
                      List.of(
                          new EvalAnswer.Choice(-9, false), new EvalAnswer.Choice(-2, false),
                          new EvalAnswer.Choice(-9, false),
                          new EvalAnswer.Choice(good ? -3 : -1, false))),
                  new ItemScores(
                      Map.of("none", good ? "1" : "3"), Map.of("acc,none", good ? 1.0 : 0.0)))));
    }
    RunManifest manifest =
        new RunManifest(
            Map.of(), Map.of("date", date, "model", "/models/" + folder.getFileName()),
            List.of(new RunManifest.Task("mmlu", "1.0", 5, items)));
    Files.writeString(folder.resolve(EvalRun.MANIFEST), manifest.toJson().toString());
    Files.writeString(folder.resolve(EvalRun.ITEMS), lines);
    return folder;
  }
}

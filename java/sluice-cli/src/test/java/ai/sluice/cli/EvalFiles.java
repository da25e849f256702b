package ai.sluice.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Small data sets of our own in the formats of the real ones. */
final class EvalFiles {
  private static final int QUESTIONS = 3;

  private EvalFiles() {}

  /** Two subjects of MMLU with short questions, and a few items of the others. */
  static Path write(Path folder) throws IOException {
    return write(folder, QUESTIONS);
  }

  /**
   * The same with more of them.
   *
   * @param questions of each subject
   */
  static Path write(Path folder, int questions) throws IOException {
    Path dev = Files.createDirectories(folder.resolve("mmlu/dev"));
    Path test = Files.createDirectories(folder.resolve("mmlu/test"));
    for (String subject : new String[] {"tide_tables", "kite_making"}) {
      Files.writeString(
          dev.resolve(subject + "_dev.csv"), "Up?,a,b,c,d,A\nOn?,a,b,c,d,B\n");
      StringBuilder rows = new StringBuilder();
      for (int i = 0; i < questions; i++) {
        rows.append("Is ").append(i * 37 % 101).append("?,").append(i).append(",b,c,d,")
            .append("ABCD".charAt(i % 4)).append('\n');
      }
      Files.writeString(test.resolve(subject + "_test.csv"), rows.toString());
    }
    Path gsm8k = Files.createDirectories(folder.resolve("gsm8k"));
    StringBuilder lines = new StringBuilder();
    for (int i = 0; i < questions; i++) {
      lines.append("{\"question\": \"").append(i).append("+1?\", \"answer\": \"#### ")
          .append(i + 1).append("\"}\n");
    }
    Files.writeString(gsm8k.resolve("train.jsonl"), lines.toString());
    Files.writeString(gsm8k.resolve("test.jsonl"), lines.toString());
    Path humaneval = Files.createDirectories(folder.resolve("humaneval"));
    Files.writeString(
        humaneval.resolve("HumanEval.jsonl"),
        "{\"task_id\": \"own/0\", \"prompt\": \"def f():\\n\", \"canonical_solution\": \"\","
            + " \"test\": \"def check(f):\\n\", \"entry_point\": \"f\"}\n");
    return folder;
  }
}

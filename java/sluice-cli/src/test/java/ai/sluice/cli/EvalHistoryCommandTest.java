package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EvalHistoryCommandTest {
  @TempDir Path home;

  private CliRun history(String... args) {
    String[] all = new String[args.length + 3];
    all[0] = "eval";
    all[1] = "history";
    all[2] = home.resolve("runs").toString();
    System.arraycopy(args, 0, all, 3, args.length);
    return CliRun.of(home, all);
  }

  @Test
  void theNewestFailsIfItIsWorse() throws IOException {
    Path runs = home.resolve("runs");
    MadeRuns.mmlu(runs.resolve("a"), "2026-01-01", 60, i -> i % 3 == 0);
    CliRun run = history("--fail-if-worse");
    assertEquals(0, run.code(), run.err());
    assertTrue(run.err().startsWith("nothing to compare with: "), run.err());
    MadeRuns.mmlu(runs.resolve("b"), "2026-01-02", 60, i -> i % 3 != 0);
    assertEquals(0, history("--fail-if-worse").code());
    MadeRuns.mmlu(runs.resolve("c"), "2026-01-03", 60, i -> i % 3 == 0);
    run = history("--fail-if-worse");
    assertEquals(1, run.code(), run.err());
    assertTrue(run.out().endsWith("Worse than the baseline: mmlu acc.\n"), run.out());
    assertEquals(0, history().code());
    run = history("--fail-if-worse", "--baseline", runs.resolve("a").toString());
    assertEquals(0, run.code(), run.err());
  }

  @Test
  void aRunThatCannotBeComparedIsShownButHasNoVerdict() throws IOException {
    Path runs = home.resolve("runs");
    MadeRuns.mmlu(runs.resolve("a"), "2026-01-01", 60, i -> true);
    Path other = MadeRuns.mmlu(runs.resolve("b"), "2026-01-02", 60, i -> true);
    Path items = other.resolve("items.jsonl");
    Files.writeString(items, "");
    CliRun run = history("--baseline", runs.resolve("a").toString(), "--fail-if-worse");
    assertEquals(2, run.code());
    assertTrue(run.err().contains("no judged item in common"), run.err());
  }

  @Test
  void aPageIsWritten() throws IOException {
    MadeRuns.mmlu(home.resolve("runs/a"), "2026-01-01", 60, i -> i % 3 == 0);
    CliRun run = history("--out", home + "/h.html");
    assertEquals(0, run.code(), run.err());
    assertTrue(Files.readString(home.resolve("h.html")).contains("<svg "));
    assertEquals(2, history("--out", home + "/h.md").code());
  }
}

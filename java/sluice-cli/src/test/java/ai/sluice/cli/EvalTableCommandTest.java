package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EvalTableCommandTest {
  @TempDir Path home;

  @Test
  void tablesAreShownOrWritten() throws IOException {
    String base =
        MadeRuns.mmlu(home.resolve("base"), "2026-01-01", 40, i -> i % 2 == 0).toString();
    String other =
        MadeRuns.mmlu(home.resolve("other"), "2026-01-02", 40, i -> i % 4 != 1).toString();
    CliRun run = CliRun.of(home, "eval", "table", base, other, "--baseline", base);
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().contains("75.00 (+50.0)*"), run.out());
    assertTrue(run.out().contains("missing"), run.out());
    for (String name : new String[] {"t.md", "t.html"}) {
      Path file = home.resolve(name);
      run =
          CliRun.of(
              home, "eval", "table", other, "--baseline", base, "--out", file.toString());
      assertEquals(0, run.code(), run.err());
      assertEquals("", run.out());
      assertEquals("written: " + file + "\n", run.err());
      assertTrue(Files.readString(file).contains("75.00"));
    }
    assertTrue(Files.readString(home.resolve("t.html")).startsWith("<!doctype html>"));
    assertTrue(Files.readString(home.resolve("t.md")).startsWith("| metric |"));
  }

  @Test
  void whatIsWrongIsNamed() throws IOException {
    String base = MadeRuns.mmlu(home.resolve("base"), "2026-01-01", 4, i -> true).toString();
    CliRun run =
        CliRun.of(home, "eval", "table", base, "--baseline", base, "--out", home + "/t.pdf");
    assertEquals(2, run.code());
    assertTrue(run.err().contains("ends in .md or .html"), run.err());
    run = CliRun.of(home, "eval", "table", base, "--baseline", base, "--out", home + "/n/t.md");
    assertEquals(1, run.code());
    assertTrue(run.err().contains("no such folder"), run.err());
    run = CliRun.of(home, "eval", "table", base);
    assertEquals(2, run.code());
    assertTrue(run.err().contains("--baseline"), run.err());
    run = CliRun.of(home, "eval", "table", base, "--baseline", home.toString());
    assertEquals(2, run.code());
    assertTrue(run.err().contains("no manifest.json"), run.err());
  }
}

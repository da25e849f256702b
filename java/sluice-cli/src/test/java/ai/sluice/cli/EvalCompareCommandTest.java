package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EvalCompareCommandTest {
  @TempDir Path home;
  private String good = "";
  private String bad = "";

  @BeforeEach
  void runs() throws IOException {
    good = MadeRuns.mmlu(home.resolve("good"), "2026-01-01", 60, i -> i % 3 != 0).toString();
    bad = MadeRuns.mmlu(home.resolve("bad"), "2026-01-02", 60, i -> i % 6 == 1).toString();
  }

  private CliRun compare(String... args) {
    String[] all = new String[args.length + 2];
    all[0] = "eval";
    all[1] = "compare";
    System.arraycopy(args, 0, all, 2, args.length);
    return CliRun.of(home, all);
  }

  @Test
  void worseThanTheBaselineFailsOnlyWhereAsked() {
    assertEquals(0, compare(good, bad).code());
    CliRun run = compare(good, bad, "--fail-if-worse");
    assertEquals(1, run.code(), run.err());
    assertTrue(run.out().endsWith("Worse than the baseline: mmlu acc.\n"), run.out());
    run = compare(bad, good, "--fail-if-worse");
    assertEquals(0, run.code());
    assertTrue(run.out().endsWith("Better than the baseline: mmlu acc.\n"), run.out());
    assertEquals(0, compare(good, good, "--fail-if-worse").code());
  }

  @Test
  void everyLineFitsEightyColumns() {
    CliRun run = compare(good, bad, "--items", "3", "--clustered");
    assertTrue(run.out().contains("mmlu, 5-shot: 60 items in both\n"), run.out());
    assertTrue(run.out().contains("items of 4 subjects drawn together"), run.out());
    assertTrue(run.out().contains("mmlu acc, flipped: 30, the first 3"), run.out());
    assertTrue(
        run.out().contains("lost mmlu_subject_0 4: B -> D (right: B)  What is the answer"),
        run.out());
    assertEquals(3, run.out().lines().filter(line -> line.startsWith("  lost ")).count());
    run.out()
        .lines()
        .filter(line -> !line.contains(home.toString()))
        .forEach(line -> assertTrue(line.length() <= 80, line));
  }

  @Test
  void jsonHasTheNumbers() throws IOException {
    CliRun run = compare(good, bad, "--json");
    assertEquals("true", Json.at(run.out(), "/worse"));
    assertEquals("-0.5", Json.at(run.out(), "/tasks/0/metrics/0/difference"));
    assertEquals(30, Json.intAt(run.out(), "/flipped_total"));
    assertEquals("D", Json.at(run.out(), "/flipped/29/other_answer"));
    run = compare(good, bad, "--json", "--items", "2");
    assertTrue(Json.at(run.out(), "/flipped").endsWith("]"));
    assertEquals(4, Json.intAt(run.out(), "/flipped/0/index"));
    assertEquals(30, Json.intAt(run.out(), "/flipped_total"));
  }

  @Test
  void whatIsWrongIsNamed() {
    CliRun run = compare(good, home.resolve("none").toString());
    assertEquals(2, run.code());
    assertTrue(run.err().contains("no manifest.json"), run.err());
    run = compare(good, bad, "--metric", "f1");
    assertEquals(2, run.code());
    assertTrue(run.err().contains("metric: f1 (expected: one of acc,none)"), run.err());
    run = compare(good, bad, "--items", "-1");
    assertEquals(2, run.code());
  }
}

package ai.sluice.eval.compare;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.perf.PerfReport;
import ai.sluice.eval.run.EvalRun;
import ai.sluice.eval.run.ItemTiming;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EvalTableTest {
  @TempDir Path folder;

  private EvalRun run(String name, int right, int shots) throws IOException {
    MadeRun run = new MadeRun().with("model", "/m/" + name + ".gguf").task("gsm8k", shots, 40);
    run.identity("numerics", "EXACT").identity("dtype", "BFLOAT16");
    for (int i = 0; i < 40; i++) {
      run.number("gsm8k", i, "shots" + shots, i < right ? 1 : 0, i < right ? 1 : 0);
    }
    return run.write(folder.resolve(name));
  }

  private static PerfReport perf(double millis, int newTokens, PerfReport.Energy energy) {
    return new PerfReport(
        Map.of(
            "model", "/m/perf", "backend", "CPU", "dtype", "BFLOAT16", "numerics", "FAST",
            "threads", "2"),
        512, newTokens,
        List.of(
            new PerfReport.Level(
                4, 8, 4, 10, new PerfReport.Latency(50, 60), new PerfReport.Latency(millis, 40),
                4000 / millis, OptionalLong.of(5_000_000), energy)));
  }

  private static double rounded(double value) {
    return Math.round(1e6 * value) / 1e6;
  }

  private static String cells(EvalTable table, String label) {
    return table.rows().stream()
        .filter(row -> row.label().equals(label))
        .map(
            row ->
                row.cells().stream()
                    .map(
                        cell ->
                            cell.map(
                                    c ->
                                        c.value()
                                            + (c.improvement().isPresent()
                                            ? " " + rounded(c.improvement().getAsDouble())
                                            : "")
                                            + (c.certain() ? "*" : ""))
                                .orElse("missing"))
                    .toList()
                    .toString())
        .findFirst()
        .orElse("no row " + label);
  }

  @Test
  void improvementIsInPercentOfTheBaseline() throws IOException {
    EvalRun base = run("base", 20, 5);
    EvalRun good = run("good", 30, 5);
    EvalRun same = run("same", 19, 5);
    perf(20, 100, PerfReport.Energy.told("RAPL", 400)).write(base.folder());
    perf(15, 100, PerfReport.Energy.notTold("no sensor")).write(good.folder());
    EvalTable table = EvalTable.of(base, List.of(good, base, same));
    assertEquals(List.of("base", "good", "same"), table.models());
    assertEquals("[0.5, 0.75 50.0*, 0.475 -5.0]", cells(table, "gsm8k 5-shot strict-match"));
    assertEquals("[20.0, 15.0 25.0, missing]", cells(table, "ms per token x4"));
    assertEquals("[5000000.0, 5000000.0 0.0, missing]", cells(table, "KV cache x4"));
    // 200 tokens a second for 10 seconds and 400 joules.
    assertEquals("[5.0, missing, missing]", cells(table, "tokens per joule x4"));
    assertEquals(
        "base: speeds on cpu, bfloat16, fast (scores: exact), 2 threads", table.notes().get(0));
    assertTrue(
        table.notes().get(2).startsWith("same: no perf.json (remedy: eval perf --out "),
        table.notes().toString());
  }

  @Test
  void whatCannotBeComparedHasNoImprovement() throws IOException {
    EvalRun base = run("base", 20, 5);
    EvalRun other = run("other", 30, 4);
    perf(20, 100, PerfReport.Energy.notTold("-")).write(base.folder());
    perf(20, 200, PerfReport.Energy.notTold("-")).write(other.folder());
    EvalTable table = EvalTable.of(base, List.of(other));
    assertEquals("[0.5, missing]", cells(table, "gsm8k 5-shot strict-match"));
    assertEquals("[missing, 0.75]", cells(table, "gsm8k 4-shot strict-match"));
    assertEquals("[20.0, missing]", cells(table, "ms per token x4 512+100"));
    assertEquals("[missing, 20.0]", cells(table, "ms per token x4 512+200"));

    MadeRun fewer = new MadeRun().task("gsm8k", 5, 10);
    for (int i = 0; i < 10; i++) {
      fewer.number("gsm8k", i, "shots5", 1, 1);
    }
    table = EvalTable.of(base, List.of(fewer.write(folder.resolve("fewer"))));
    assertTrue(cells(table, "gsm8k 5-shot strict-match").startsWith("[0.5, 1.0"));
    assertFalse(cells(table, "gsm8k 5-shot strict-match").contains("100"));
    assertTrue(table.notes().toString().contains("other items than the baseline's"));
  }

  @Test
  void timesOfTheEvaluationStandForThoseNotMeasured() throws IOException {
    EvalRun base = run("base", 20, 5);
    EvalRun other = run("other", 20, 5);
    StringBuilder lines = new StringBuilder();
    for (int i = 0; i < 3; i++) {
      lines.append(
          "{\"task\":\"gsm8k\",\"index\":" + i + ",\"prompt_tokens\":9,\"cached_tokens\":0,"
              + "\"new_tokens\":10,\"seconds\":" + (i + 1) + "}\n");
    }
    Files.writeString(other.folder().resolve(ItemTiming.FILE), lines);
    EvalTable table = EvalTable.of(base, List.of(other));
    assertEquals("[missing, 200.0]", cells(table, "ms per token, evaluated"));
    table = EvalTable.of(base, List.of(base));
    assertEquals("[missing]", cells(table, "ms per token"));
  }

  @Test
  void aFolderWithSpeedsAloneIsAColumn() throws IOException {
    EvalRun base = run("base", 20, 5);
    Path speeds = folder.resolve("speeds");
    PerfReport report = perf(20, 100, PerfReport.Energy.told("RAPL", 3));
    report.write(speeds);
    assertEquals(report, PerfReport.read(speeds).orElseThrow());
    EvalTable table = EvalTable.of(base, List.of(EvalTable.read(speeds)));
    assertEquals(List.of("base", "perf"), table.models());
    assertEquals("[missing, 20.0]", cells(table, "ms per token x4"));
    Files.writeString(speeds.resolve(PerfReport.FILE), "{\"levels\":[]}");
    String message =
        assertThrows(InvalidRequestException.class, () -> EvalTable.read(speeds)).getMessage();
    assertTrue(message.contains("levels: none (expected: at least one)"), message);
    assertThrows(InvalidRequestException.class, () -> EvalTable.read(folder));
  }

  @Test
  void everyFormShowsTheSame() throws IOException {
    EvalRun base = run("base|<b>", 20, 5);
    perf(0.01234, 100, PerfReport.Energy.notTold("-")).write(base.folder());
    EvalTable table =
        EvalTable.of(
            base,
            List.of(run("a_very_long_name_of_a_model", 30, 5), run("c", 1, 5), run("d", 2, 5)));
    String text = TableWriter.text(table, 80);
    text.lines().forEach(line -> assertTrue(line.length() <= 80, line));
    assertTrue(
        text.contains("gsm8k 5-shot strict-match                50.00  75.00 (+50.0)*"), text);
    assertEquals(2, text.lines().filter(line -> line.contains("(baseline)")).count());
    String markdown = TableWriter.markdown(table);
    assertTrue(markdown.startsWith("| metric | base\\|\\<b\\> (baseline) | a\\_very"), markdown);
    assertTrue(
        markdown.contains("| gsm8k 5-shot strict-match | 50.00 | 75.00 (+50.0)\\* |"), markdown);
    assertTrue(markdown.contains("| ms per token x4 | 0.0123 | missing | missing |"), markdown);
    String html = TableWriter.html(table);
    assertTrue(html.contains("<th>base|&lt;b&gt;<small>baseline</small>"), html);
    assertTrue(html.contains("<b>75.00</b> <span class=up>+50.0 %*</span><small>"), html);
    assertTrue(html.contains("<td class=missing>missing"), html);
    assertFalse(html.contains("http"), "needs no other file");
  }
}

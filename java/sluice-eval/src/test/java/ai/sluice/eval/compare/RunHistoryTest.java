package ai.sluice.eval.compare;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.InvalidRequestException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RunHistoryTest {
  @TempDir Path folder;

  private void run(String name, String date, int right) throws IOException {
    MadeRun run = new MadeRun().with("date", date).with("model", "m").task("gsm8k", 5, 40);
    for (int i = 0; i < 40; i++) {
      run.number("gsm8k", i, "p", i < right ? 1 : 0, 1);
    }
    run.write(folder.resolve(name));
  }

  private void mmlu(String name, String date) throws IOException {
    new MadeRun()
        .with("started", date)
        .with("model", "m")
        .task("mmlu", 0, 2)
        .choice("mmlu", "mmlu_a", 0, 1)
        .choice("mmlu", "mmlu_b", 0, 0)
        .write(folder.resolve(name));
  }

  private static List<String> names(List<Path> paths) {
    return paths.stream().map(path -> path.getFileName().toString()).toList();
  }

  @Test
  void runsAreOrderedByDateAndSeriesByWhatTheyAsk() throws IOException {
    run("b", "2026-03-01", 30);
    run("deep/er/a", "2026-03-03T10:00:00Z", 10);
    mmlu("m", "2026-03-02");
    new MadeRun()
        .with("date", "2026-01-01")
        .with("model", "m")
        .task("gsm8k", "2.0", 5, 3)
        .number("gsm8k", 0, "old", 1, 1)
        .number("gsm8k", 1, "old", 1, 1)
        .write(folder.resolve("old"));
    RunHistory history = RunHistory.read(folder);
    assertEquals(List.of("old", "b", "m", "a"), names(history.runs()));
    assertEquals(List.of(), history.notes());
    assertEquals(5, history.series().size());
    RunHistory.Series strict = history.series().get(2);
    assertEquals("gsm8k 5-shot strict-match", strict.label());
    assertEquals("1.0", strict.version());
    assertEquals(
        List.of(0.75, 0.25), strict.points().stream().map(RunHistory.Point::score).toList());
    // Wilson's interval of 30 of 40, by SciPy 1.17: binomtest(30, 40).proportion_ci method wilson.
    assertEquals(0.5980603857923197, strict.points().get(0).interval().low(), 1e-12);
    assertEquals(0.858128813609037, strict.points().get(0).interval().high(), 1e-12);
    assertFalse(history.series().get(0).points().get(0).complete());
  }

  @Test
  void theNewestIsComparedWithTheLastThatHasItsTasks() throws IOException {
    run("a", "2026-03-01", 10);
    run("b", "2026-03-02", 30);
    mmlu("c", "2026-03-03");
    run("d", "2026-03-04", 20);
    RunHistory history = RunHistory.read(folder);
    List<RunComparison> found =
        history.compareNewest(Optional.empty(), RunComparison.Settings.ALL);
    assertEquals(1, found.size());
    assertEquals("b", found.get(0).baseline().getFileName().toString());
    assertTrue(found.get(0).isWorse());
    found =
        history.compareNewest(
            Optional.of(folder.resolve("a")), RunComparison.Settings.ALL);
    assertFalse(found.get(0).isWorse());
  }

  @Test
  void theFirstRunHasNothingBefore() throws IOException {
    run("a", "2026-03-01", 10);
    assertEquals(
        List.of(),
        RunHistory.read(folder).compareNewest(Optional.empty(), RunComparison.Settings.ALL));
  }

  @Test
  void whatIsNoRunIsNotedAndLeftOut() throws IOException {
    assertTrue(
        assertThrows(InvalidRequestException.class, () -> RunHistory.read(folder))
            .getMessage()
            .contains("no runs"));
    assertThrows(InvalidRequestException.class, () -> RunHistory.read(folder.resolve("none")));
    new MadeRun().task("mmlu", 0, 1).choice("mmlu", "mmlu_a", 0, 1).write(folder.resolve("a"));
    Files.writeString(Files.createDirectory(folder.resolve("b")).resolve("manifest.json"), "{");
    RunHistory history = RunHistory.read(folder);
    assertEquals(List.of("a"), names(history.runs()));
    assertTrue(history.notes().toString().contains("no date in its manifest"));
    assertTrue(history.notes().toString().contains("left out: "), history.notes().toString());
  }

  @Test
  void everyFormShowsEveryRun() throws IOException {
    run("a_run_with_a_long_name_17", "2026-03-01T10:11:12Z", 0);
    run("<b>", "2026-03-02", 40);
    mmlu("m", "2026-03-02");
    RunHistory history = RunHistory.read(folder);
    String text = HistoryWriter.text(history, 80);
    text.lines()
        .filter(line -> !line.startsWith("- "))
        .forEach(line -> assertTrue(line.length() <= 80, line));
    assertTrue(
        text.contains("  2026-03-01  ..a_long_name_17    40   0.0000  0.0000-0.0876  ●"), text);
    String html = HistoryWriter.html(history);
    assertEquals(3, html.split("<svg ", -1).length - 1);
    assertEquals(5, html.split("<circle ", -1).length - 1);
    assertTrue(html.contains("<tr><th>&lt;b&gt;<td>2026-03-02<td>40<td><b>1.0000</b>"), html);
    assertFalse(html.contains("http"), "needs no other file");
    assertFalse(html.contains("NaN"), html);
  }
}

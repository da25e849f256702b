package ai.sluice.eval.compare;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.ItemScores;
import ai.sluice.eval.metrics.Interval;
import ai.sluice.eval.run.EvalRun;
import ai.sluice.eval.run.ItemKey;
import ai.sluice.eval.run.ItemRecord;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.IntToDoubleFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RunComparisonTest {
  private static final int ITEMS = 400;

  @TempDir Path folder;

  private static double first(int i) {
    return i * 7919 % 101 < 55 ? 1 : 0;
  }

  private static double second(int i) {
    return i * 104729 % 97 < 14 ? 1 - first(i) : first(i);
  }

  private EvalRun mmlu(String name, IntToDoubleFunction score) throws IOException {
    MadeRun run = new MadeRun().task("mmlu", 5, ITEMS);
    for (int i = 0; i < ITEMS; i++) {
      // Eight subjects of different sizes.
      String subject = "mmlu_s" + (int) (Math.sqrt(i / 400.0) * 8);
      run.choice("mmlu", subject, i, score.applyAsDouble(i));
    }
    return run.write(folder.resolve(name));
  }

  private static void near(double low, double high, Optional<Interval> interval, double bound) {
    assertEquals(low, interval.orElseThrow().low(), bound);
    assertEquals(high, interval.orElseThrow().high(), bound);
  }

  /*
   * Expected values by NumPy 2.4 and SciPy 1.17 on the same 400 scores: means; binomtest(32, 60);
   * numpy.quantile of 500,000 means of resampled differences, of 1,000,000 resamples of 8 subjects.
   * Of 10,000 resamples an end may lie an item's worth away from that of 500,000, and of subjects a
   * few thousandths.
   */
  @Test
  void aPairIsComparedAsByScipy() throws IOException {
    EvalRun one = mmlu("one", RunComparisonTest::first);
    EvalRun two = mmlu("two", RunComparisonTest::second);
    RunComparison comparison = RunComparison.of(one, two, RunComparison.Settings.ALL);
    MetricComparison acc = comparison.tasks().get(0).metrics().get(0);
    assertEquals("acc,none", acc.metric());
    assertEquals(400, acc.items());
    assertEquals(0.545, acc.baseline(), 1e-12);
    assertEquals(0.535, acc.other(), 1e-12);
    assertEquals(-0.01, acc.difference(), 1e-12);
    assertEquals(32, acc.lost());
    assertEquals(28, acc.won());
    assertEquals(0.6988834276200058, acc.mcNemarP().orElseThrow(), 1e-12);
    near(-0.0475, 0.0275, acc.interval(), 0.00251);
    assertEquals(0, acc.clusters());
    assertFalse(comparison.isWorse());

    RunComparison clustered =
        RunComparison.of(one, two, new RunComparison.Settings(Optional.empty(), true));
    acc = clustered.tasks().get(0).metrics().get(0);
    assertEquals(8, acc.clusters());
    near(-0.04545, 0.01647, acc.interval(), 0.003);
  }

  @Test
  void anIntervalWhollyBelowZeroIsWorse() throws IOException {
    EvalRun one = mmlu("one", RunComparisonTest::first);
    EvalRun worse = mmlu("worse", i -> i % 10 == 0 ? 0 : first(i));
    RunComparison comparison = RunComparison.of(one, worse, RunComparison.Settings.ALL);
    MetricComparison acc = comparison.tasks().get(0).metrics().get(0);
    assertEquals(-0.0625, acc.difference(), 1e-12);
    assertEquals(5.960464477539063e-08, acc.mcNemarP().orElseThrow(), 1e-19);
    assertTrue(acc.isWorse());
    assertFalse(acc.isBetter());
    assertTrue(comparison.isWorse());
    comparison = RunComparison.of(worse, one, RunComparison.Settings.ALL);
    assertFalse(comparison.isWorse(), "the first run is the baseline");
    assertTrue(comparison.tasks().get(0).metrics().get(0).isBetter());
    comparison = RunComparison.of(one, one, RunComparison.Settings.ALL);
    acc = comparison.tasks().get(0).metrics().get(0);
    assertEquals(Optional.of(new Interval(0, 0)), acc.interval());
    assertEquals(1, acc.mcNemarP().orElseThrow());
    assertFalse(acc.isWorse() || acc.isBetter());
  }

  @Test
  void flippedItemsAreListedLostOnesFirst() throws IOException {
    EvalRun one =
        new MadeRun()
            .task("mmlu", 0, 3)
            .task("gsm8k", 5, 1)
            .choice("mmlu", "mmlu_a", 0, 0)
            .choice("mmlu", "mmlu_a", 1, 1)
            .choice("mmlu", "mmlu_b", 0, 1)
            .number("gsm8k", 0, "p", 1, 1)
            .write(folder.resolve("one"));
    EvalRun two =
        new MadeRun()
            .task("gsm8k", 5, 1)
            .task("mmlu", 0, 3)
            .choice("mmlu", "mmlu_a", 0, 1)
            .choice("mmlu", "mmlu_a", 1, 1)
            .choice("mmlu", "mmlu_b", 0, 0)
            .number("gsm8k", 0, "p", 0, 1)
            .write(folder.resolve("two"));
    RunComparison comparison = RunComparison.of(one, two, RunComparison.Settings.ALL);
    assertEquals(
        List.of(
            new FlippedItem(
                "mmlu", new ItemKey("mmlu_b", 0), "acc,none", "Question 0?", "B", "B", "D", 1, 0),
            new FlippedItem(
                "mmlu", new ItemKey("mmlu_a", 0), "acc,none", "Question 0?", "B", "D", "B", 0, 1),
            new FlippedItem(
                "gsm8k", new ItemKey("gsm8k", 0), "exact_match,strict-match", "How many?", "18",
                "18", "[invalid]", 1, 0)),
        comparison.flipped());
    // One item has no interval.
    assertEquals(Optional.empty(), comparison.tasks().get(1).metrics().get(0).interval());
  }

  @Test
  void whatTheRunsWereMadeWithIsHeldAgainstEachOther() throws IOException {
    MadeRun first = new MadeRun().identity("dtype", "FLOAT32").identity("seed", "1234");
    MadeRun second = new MadeRun().identity("dtype", "BFLOAT16").identity("seed", "1234");
    second.identity("limit", "2");
    assertEquals(
        List.of(
            new RunComparison.Difference("dtype", "FLOAT32", "BFLOAT16"),
            new RunComparison.Difference("limit", "", "2")),
        RunComparison.of(
                first.task("mmlu", 0, 1).choice("mmlu", "mmlu_a", 0, 1).write(folder.resolve("1")),
                second.task("mmlu", 0, 1).choice("mmlu", "mmlu_a", 0, 1).write(folder.resolve("2")),
                RunComparison.Settings.ALL)
            .differences());
  }

  @Test
  void itemsOfOneRunAloneAreCounted() throws IOException {
    MadeRun first = new MadeRun().task("mmlu", 0, 4);
    MadeRun second = new MadeRun().task("mmlu", 0, 3);
    for (int i = 0; i < 4; i++) {
      first.choice("mmlu", "mmlu_a", i, 1);
      second.choice("mmlu", "mmlu_a", i + 2, 0);
    }
    TaskComparison task =
        RunComparison.of(
                first.write(folder.resolve("one")), second.write(folder.resolve("two")),
                RunComparison.Settings.ALL)
            .tasks()
            .get(0);
    assertEquals(2, task.items());
    assertEquals(2, task.onlyBaseline());
    assertEquals(2, task.onlyOther());
    assertEquals(-1, task.metrics().get(0).difference());
  }

  @Test
  void scoresBetweenZeroAndOneHaveNoMcNemar() throws IOException {
    MadeRun first = new MadeRun().task("humaneval", 0, 3);
    MadeRun second = new MadeRun().task("humaneval", 0, 3);
    for (int i = 0; i < 3; i++) {
      first.item(program(i, Map.of("pass@1,create_test", 0.25)));
      second.item(program(i, i == 2 ? Map.of() : Map.of("pass@1,create_test", 0.5)));
    }
    TaskComparison task =
        RunComparison.of(
                first.write(folder.resolve("one")), second.write(folder.resolve("two")),
                RunComparison.Settings.ALL)
            .tasks()
            .get(0);
    assertEquals(1, task.unjudged());
    assertTrue(task.metrics().get(0).mcNemarP().isEmpty());
    assertEquals(0.25, task.metrics().get(0).difference(), 1e-15);
  }

  private static ItemRecord program(int index, Map<String, Double> metrics) {
    return new ItemRecord(
        "humaneval", "humaneval", index, "h", "def f():\n", "def check(f):\n  pass\n", Map.of(),
        EvalAnswer.ofText("  return 1\n"), new ItemScores(Map.of(), metrics));
  }

  private String refused(MadeRun first, MadeRun second, String metric) throws IOException {
    EvalRun one = first.write(folder.resolve("one"));
    EvalRun two = second.write(folder.resolve("two"));
    RunComparison.Settings settings =
        new RunComparison.Settings(Optional.of(metric).filter(m -> !m.isEmpty()), false);
    return assertThrows(
            InvalidRequestException.class, () -> RunComparison.of(one, two, settings))
        .getMessage()
        .replace(folder + "/", "");
  }

  @Test
  void whatCannotBeComparedIsRefused() throws IOException {
    MadeRun gsm = new MadeRun().task("gsm8k", 5, 2);
    MadeRun other = new MadeRun().task("gsm8k", 4, 2);
    for (int i = 0; i < 5; i++) {
      gsm.number("gsm8k", i, "p", 1, 1);
      other.number("gsm8k", i, i == 0 ? "p" : "q", 1, 1);
    }
    assertEquals(
        "two: 4 of 5 prompts of gsm8k or their right answers are not the baseline's, first gsm8k"
            + " 1, gsm8k 2, gsm8k 3; 4 worked examples, there 5 (expected: the same data,"
            + " examples, template and prompt style)",
        refused(gsm, other, ""));
    assertEquals(
        "two: gsm8k of version 2.0 (expected: 1.0, the baseline's; remedy: run the older one"
            + " again)",
        refused(gsm, new MadeRun().task("gsm8k", "2.0", 5, 2), ""));
    assertEquals(
        "two: tasks mmlu (expected: one of gsm8k, those of the baseline one)",
        refused(gsm, new MadeRun().task("mmlu", 5, 2), ""));
    assertTrue(
        refused(gsm, new MadeRun().task("gsm8k", 5, 2), "").contains("no judged item in common"));
    assertEquals(
        "metric: acc (expected: one of exact_match,strict-match; exact_match,flexible-extract)",
        refused(gsm, gsm, "acc"));
  }

  @Test
  void aMetricIsChosenByNameOrFilter() throws IOException {
    EvalRun run =
        new MadeRun()
            .task("gsm8k", 5, 2)
            .number("gsm8k", 0, "p", 1, 1)
            .number("gsm8k", 1, "p", 0, 1)
            .write(folder);
    for (var each :
        Map.of("exact_match", 2, "strict-match", 1, "exact_match,flexible-extract", 1)
            .entrySet()) {
      RunComparison.Settings settings =
          new RunComparison.Settings(Optional.of(each.getKey()), false);
      assertEquals(
          each.getValue(),
          RunComparison.of(run, run, settings).tasks().get(0).metrics().size(),
          each.getKey());
    }
  }
}

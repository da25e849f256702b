package ai.sluice.eval.metrics;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import ai.sluice.eval.metrics.GroupStatistics.Task;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalDouble;
import org.junit.jupiter.api.Test;

class StatisticsTest {
  private static double[] proportion(int ones, int count) {
    double[] values = new double[count];
    Arrays.fill(values, 0, ones, 1);
    return values;
  }

  /** {@code sqrt(sum((x - mean)^2) / (n - 1) / n)} by Python's fractions and decimal, 50 digits. */
  @Test
  void meanAndStandardError() {
    check(0.625, 0.18298126367784998, 1, 0, 0, 1, 1, 1, 0, 1);
    check(0.96875, 0.68155574178981624, 0.25, 0.5, 0.125, 3);
    check(0.37, 0.048523658709390974, proportion(37, 100));
    check(1e9 + 10, 2.7386127875258306, 1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16);
    assertEquals(0, Statistics.standardError(4, 4, 4).getAsDouble());
  }

  private static void check(double mean, double error, double... values) {
    assertEquals(mean, Statistics.mean(values), 1e-15 * Math.abs(mean));
    assertEquals(error, Statistics.standardError(values).getAsDouble(), 1e-14 * error);
  }

  @Test
  void oneValueHasNoStandardError() {
    assertEquals(OptionalDouble.empty(), Statistics.standardError(1));
    assertEquals(1, Statistics.mean(1));
  }

  @Test
  void sumsKeepWhatIsSmall() {
    assertEquals(2, StableSum.of(1, 1e100, 1, -1e100));
    double[] tenths = new double[1_000_000];
    Arrays.fill(tenths, 0.1);
    assertEquals(0.1, Statistics.mean(tenths));
  }

  /**
   * {@code (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)}, z = 1.959963984540054235...,
   * by Python's decimal.
   */
  @Test
  void wilson() {
    checkWilson(81, 263, 0.2552885198782742, 0.36620957698280004);
    checkWilson(8186, 14042, 0.5747884620335318, 0.5910969359208054);
    checkWilson(1, 2, 0.09453120573423071, 0.9054687942657693);
    checkWilson(0, 10, 0, 0.27753279986288926);
    checkWilson(10, 10, 0.7224672001371107, 1);
    checkWilson(1, 1, 0.2065493143772374, 1);
    assertEquals(0, Statistics.wilson95(0, 7).low());
    assertEquals(1, Statistics.wilson95(7, 7).high());
  }

  private static void checkWilson(int successes, int trials, double low, double high) {
    Interval interval = Statistics.wilson95(successes, trials);
    assertEquals(low, interval.low(), 1e-14);
    assertEquals(high, interval.high(), 1e-14);
  }

  /**
   * By Python's fractions and decimal: {@code sum(m n) / sum(n)}, {@code sqrt(sum((n - 1) n se^2) /
   * (sum(n) - k) / sum(n))}, {@code sum(m) / k} and {@code sqrt(sum(se^2)) / k}.
   */
  @Test
  void groups() {
    List<Task> tasks =
        List.of(Task.of(1, 0, 0, 1, 1), Task.of(proportion(3, 7)), Task.of(0.25, 0.5, 0.125));
    // 3/5 of five, 3/7 of seven and 7/24 of three.
    assertEquals(0.4583333333333333, GroupStatistics.microMean(tasks), 1e-15);
    assertEquals(
        0.12882378966273575, GroupStatistics.microStandardError(tasks).getAsDouble(), 1e-15);
    assertEquals(0.44007936507936507, GroupStatistics.macroMean(tasks), 1e-15);
    assertEquals(
        0.11203625618937926, GroupStatistics.macroStandardError(tasks).getAsDouble(), 1e-15);
  }

  @Test
  void aGroupOfOneIsItsTask() {
    Task task = Task.of(proportion(37, 100));
    assertEquals(0.37, GroupStatistics.microMean(List.of(task)), 1e-15);
    assertEquals(0.37, GroupStatistics.macroMean(List.of(task)), 1e-15);
    double error = task.standardError().getAsDouble();
    assertEquals(
        error, GroupStatistics.microStandardError(List.of(task)).getAsDouble(), 1e-15);
    assertEquals(
        error, GroupStatistics.macroStandardError(List.of(task)).getAsDouble(), 1e-15);
  }

  @Test
  void aTaskWithoutErrorLeavesTheGroupWithout() {
    List<Task> tasks = List.of(Task.of(1, 0), Task.of(1));
    assertEquals(OptionalDouble.empty(), GroupStatistics.microStandardError(tasks));
    assertEquals(OptionalDouble.empty(), GroupStatistics.macroStandardError(tasks));
    assertEquals(2 / 3.0, GroupStatistics.microMean(tasks), 1e-15);
    assertEquals(0.75, GroupStatistics.macroMean(tasks), 1e-15);
    List<Task> made = List.of(new Task(1, 0.5, OptionalDouble.of(0.1)));
    assertEquals(OptionalDouble.empty(), GroupStatistics.microStandardError(made));
  }

  @Test
  void refused() {
    refused("values: 0 values (expected: at least 1)", () -> Statistics.mean());
    refused("values: 0 values (expected: at least 1)", () -> Statistics.standardError());
    refused(
        "values[1]: NaN (expected: a finite number)", () -> Statistics.mean(1, Double.NaN, 2));
    refused("trials: 0 (expected: at least 1)", () -> Statistics.wilson95(0, 0));
    refused("successes: 4 (expected: 0 to 3)", () -> Statistics.wilson95(4, 3));
    refused("successes: -1 (expected: 0 to 3)", () -> Statistics.wilson95(-1, 3));
    refused("tasks: none (expected: at least one)", () -> GroupStatistics.microMean(List.of()));
    refused(
        "tasks: none (expected: at least one)",
        () -> GroupStatistics.microStandardError(List.of()));
    refused("tasks: none (expected: at least one)", () -> GroupStatistics.macroMean(List.of()));
    refused(
        "tasks: none (expected: at least one)",
        () -> GroupStatistics.macroStandardError(List.of()));
    refused(
        "size: 0 (expected: at least 1)", () -> new Task(0, 0.5, OptionalDouble.empty()));
    refused(
        "mean: Infinity (expected: a finite number)",
        () -> new Task(1, Double.POSITIVE_INFINITY, OptionalDouble.empty()));
    refused(
        "standardError: NaN (expected: a finite number, at least 0)",
        () -> new Task(1, 0.5, OptionalDouble.of(Double.NaN)));
    refused(
        "standardError: -0.1 (expected: a finite number, at least 0)",
        () -> new Task(1, 0.5, OptionalDouble.of(-0.1)));
    refused("low: 2.0 (expected: at most high, 1.0)", () -> new Interval(2, 1));
  }

  private static void refused(String message, Runnable action) {
    assertEquals(
        message, assertThrows(IllegalArgumentException.class, action::run).getMessage());
  }
}

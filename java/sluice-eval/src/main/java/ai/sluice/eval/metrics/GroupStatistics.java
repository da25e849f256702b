package ai.sluice.eval.metrics;

import java.util.List;
import java.util.OptionalDouble;

/**
 * Means and standard errors of a group of tasks as lm-eval 0.4.13 has them. A group's members are
 * its leaf tasks, also where it holds subgroups. Thread-safe.
 */
public final class GroupStatistics {
  private GroupStatistics() {}

  /**
   * What one task says.
   *
   * @param size how many items it has, at least 1
   * @param mean of its items' scores
   * @param standardError of that mean, at least 0; empty if there is none
   */
  public record Task(int size, double mean, OptionalDouble standardError) {
    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if one is out of range
     */
    public Task {
      Arguments.range("size", size, 1, Integer.MAX_VALUE);
      if (!Double.isFinite(mean)) {
        throw Arguments.fail("mean", mean, "a finite number");
      }
      double error = standardError.orElse(0);
      if (!(error >= 0 && error < Double.POSITIVE_INFINITY)) {
        throw Arguments.fail("standardError", error, "a finite number, at least 0");
      }
    }

    /** Mean and standard error of these scores. */
    public static Task of(double... scores) {
      return new Task(scores.length, Statistics.mean(scores), Statistics.standardError(scores));
    }
  }

  /**
   * The mean over all items ({@code weight_by_size: true}), {@code sum(m n) / sum(n)}.
   *
   * @param tasks at least one
   * @throws IllegalArgumentException if there is none
   */
  public static double microMean(List<Task> tasks) {
    StableSum sum = new StableSum();
    for (Task task : given(tasks)) {
      sum.add(task.mean() * task.size());
    }
    return sum.value() / items(tasks);
  }

  /**
   * The pooled standard error of the {@linkplain #microMean micro average}, {@code sqrt(sum((n - 1)
   * n se^2) / (sum(n) - k) / sum(n))} for k tasks.
   *
   * @param tasks at least one
   * @return empty if a task has none
   * @throws IllegalArgumentException if there is no task
   */
  public static OptionalDouble microStandardError(List<Task> tasks) {
    StableSum sum = new StableSum();
    for (Task task : given(tasks)) {
      if (task.standardError().isEmpty()) {
        return OptionalDouble.empty();
      }
      double error = task.standardError().getAsDouble();
      sum.add((task.size() - 1.0) * task.size() * error * error);
    }
    double freedom = items(tasks) - tasks.size();
    // Only tasks of one item each, which have no error of their own unless the caller made one up.
    return freedom == 0
        ? OptionalDouble.empty()
        : OptionalDouble.of(Math.sqrt(sum.value() / freedom / items(tasks)));
  }

  /**
   * The mean of the tasks' means ({@code weight_by_size: false}).
   *
   * @param tasks at least one
   * @throws IllegalArgumentException if there is none
   */
  public static double macroMean(List<Task> tasks) {
    return Statistics.mean(given(tasks).stream().mapToDouble(Task::mean).toArray());
  }

  /**
   * The standard error of the {@linkplain #macroMean macro average}, {@code sqrt(sum(se^2)) / k}
   * for k tasks.
   *
   * @param tasks at least one
   * @return empty if a task has none
   * @throws IllegalArgumentException if there is no task
   */
  public static OptionalDouble macroStandardError(List<Task> tasks) {
    StableSum sum = new StableSum();
    for (Task task : given(tasks)) {
      if (task.standardError().isEmpty()) {
        return OptionalDouble.empty();
      }
      double error = task.standardError().getAsDouble();
      sum.add(error * error);
    }
    return OptionalDouble.of(Math.sqrt(sum.value()) / tasks.size());
  }

  private static List<Task> given(List<Task> tasks) {
    if (tasks.isEmpty()) {
      throw Arguments.fail("tasks", "none", "at least one");
    }
    return tasks;
  }

  private static double items(List<Task> tasks) {
    return tasks.stream().mapToLong(Task::size).sum();
  }
}

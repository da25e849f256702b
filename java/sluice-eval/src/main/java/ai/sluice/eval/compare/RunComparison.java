package ai.sluice.eval.compare;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.metrics.Bootstrap;
import ai.sluice.eval.metrics.Interval;
import ai.sluice.eval.metrics.McNemar;
import ai.sluice.eval.metrics.Statistics;
import ai.sluice.eval.run.EvalRun;
import ai.sluice.eval.run.ItemRecord;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.function.Predicate;

/**
 * Two runs held against each other, item by item. Immutable; the same runs give the same numbers.
 *
 * @param baseline the folder of the first run
 * @param other the folder of the second run
 * @param differences in what the runs were made with: the fields of their identity that differ
 * @param tasks that both were asked for, in the order of the first
 * @param flipped items with another score in the second run: by task and metric, those that are
 *     lost before those that are won
 */
public record RunComparison(
    Path baseline,
    Path other,
    List<Difference> differences,
    List<TaskComparison> tasks,
    List<FlippedItem> flipped) {
  /** Of the paired bootstrap. */
  public static final long SEED = 1234;

  /**
   * A field of the runs' identity that differs.
   *
   * @param name as in the manifest: {@code dtype}
   * @param baseline its value in the first run; empty if it has none
   * @param other its value in the second run; empty if it has none
   */
  public record Difference(String name, String baseline, String other) {}

  /** Copies the lists. */
  public RunComparison {
    differences = List.copyOf(differences);
    tasks = List.copyOf(tasks);
    flipped = List.copyOf(flipped);
  }

  /**
   * What is compared, and how.
   *
   * @param metric one metric alone, with its filter ({@code exact_match,strict-match}) or without;
   *     empty: all
   * @param clustered whether items of a subject are drawn together in the bootstrap
   */
  public record Settings(Optional<String> metric, boolean clustered) {
    /** Every metric, items drawn alone. */
    public static final Settings ALL = new Settings(Optional.empty(), false);

    boolean takes(String name) {
      return metric.isEmpty()
          || name.equals(metric.get())
          || name.startsWith(metric.get() + ",")
          || name.endsWith("," + metric.get());
    }
  }

  /**
   * Compares two runs.
   *
   * @param baseline the first run
   * @param other the second run; a difference above 0 is in its favour
   * @throws InvalidRequestException if they have no task, no judged item or no such metric in
   *     common, or if the version, the prompts or the right answers of a task differ
   */
  public static RunComparison of(EvalRun baseline, EvalRun other, Settings settings) {
    return of(baseline, other, settings, PairedTask.of(baseline, other));
  }

  /**
   * As {@link #of(EvalRun, EvalRun, Settings)}, tasks with these names alone.
   *
   * @throws InvalidRequestException as there
   */
  static RunComparison of(
      EvalRun baseline, EvalRun other, Settings settings, Predicate<String> names) {
    return of(baseline, other, settings, PairedTask.of(baseline, other, names));
  }

  private static RunComparison of(
      EvalRun baseline, EvalRun other, Settings settings, List<PairedTask> pairs) {
    List<TaskComparison> tasks = new ArrayList<>();
    List<FlippedItem> flipped = new ArrayList<>();
    Set<String> met = new LinkedHashSet<>();
    for (PairedTask task : pairs) {
      List<MetricComparison> metrics = new ArrayList<>();
      for (String metric : metrics(task)) {
        met.add(metric);
        if (settings.takes(metric)) {
          metrics.add(compare(task, metric, settings.clustered()));
          flipped.addAll(flips(task, metric, true));
          flipped.addAll(flips(task, metric, false));
        }
      }
      tasks.add(
          new TaskComparison(
              task.task().name(), task.task().shots(), task.pairs().size(), task.onlyFirst(),
              task.onlySecond(), task.unjudged(), metrics));
    }
    if (met.isEmpty()) {
      throw new InvalidRequestException(
          other.folder() + ": no judged item in common with the baseline " + baseline.folder()
              + " (expected: at least one; remedy: the same limit and subjects, or eval score)");
    }
    if (tasks.stream().allMatch(task -> task.metrics().isEmpty())) {
      throw new InvalidRequestException(
          "metric: " + settings.metric().orElse("") + " (expected: one of "
              + String.join("; ", met) + ")");
    }
    return new RunComparison(
        baseline.folder(), other.folder(), differences(baseline, other), tasks, flipped);
  }

  private static List<Difference> differences(EvalRun baseline, EvalRun other) {
    Map<String, String> first = baseline.manifest().identity();
    Map<String, String> second = other.manifest().identity();
    Set<String> names = new LinkedHashSet<>(first.keySet());
    names.addAll(second.keySet());
    return names.stream()
        .map(
            name ->
                new Difference(
                    name, first.getOrDefault(name, ""), second.getOrDefault(name, "")))
        .filter(each -> !each.baseline().equals(each.other()))
        .toList();
  }

  /** Metrics that every pair has in both runs. */
  private static Set<String> metrics(PairedTask task) {
    if (task.pairs().isEmpty()) {
      return Set.of();
    }
    Set<String> out =
        new LinkedHashSet<>(task.pairs().get(0).first().scores().metrics().keySet());
    for (PairedTask.Pair pair : task.pairs()) {
      out.retainAll(pair.first().scores().metrics().keySet());
      out.retainAll(pair.second().scores().metrics().keySet());
    }
    return out;
  }

  private static MetricComparison compare(PairedTask task, String metric, boolean clustered) {
    double[] first = task.pairs().stream().mapToDouble(p -> score(p.first(), metric)).toArray();
    double[] second = task.pairs().stream().mapToDouble(p -> score(p.second(), metric)).toArray();
    double[] differences = new double[first.length];
    boolean binary = true;
    int lost = 0;
    int won = 0;
    for (int i = 0; i < first.length; i++) {
      differences[i] = second[i] - first[i];
      lost += second[i] < first[i] ? 1 : 0;
      won += second[i] > first[i] ? 1 : 0;
      binary &= isBinary(first[i]) && isBinary(second[i]);
    }
    List<String> subjects = task.pairs().stream().map(pair -> pair.first().task()).toList();
    int clusters = clustered ? (int) subjects.stream().distinct().count() : 0;
    return new MetricComparison(
        metric, first.length, Statistics.mean(first), Statistics.mean(second),
        Statistics.mean(differences), interval(first, second, subjects, clusters),
        clusters > 1 ? clusters : 0, lost, won,
        binary ? OptionalDouble.of(McNemar.exactP(lost, won)) : OptionalDouble.empty());
  }

  private static Optional<Interval> interval(
      double[] first, double[] second, List<String> subjects, int clusters) {
    if (first.length < 2) {
      return Optional.empty();
    }
    Bootstrap bootstrap = Bootstrap.withSeed(SEED);
    return Optional.of(
        clusters > 1
            ? bootstrap.clusteredMeanDifference(first, second, subjects)
            : bootstrap.meanDifference(first, second));
  }

  private static boolean isBinary(double score) {
    return score == 0 || score == 1;
  }

  private static double score(ItemRecord item, String metric) {
    Double score = item.scores().metrics().get(metric);
    if (score == null) {
      throw new IllegalStateException(metric + ": not of every item (a defect of Sluice)");
    }
    return score;
  }

  private static List<FlippedItem> flips(PairedTask task, String metric, boolean lost) {
    List<FlippedItem> out = new ArrayList<>();
    for (PairedTask.Pair pair : task.pairs()) {
      double before = score(pair.first(), metric);
      double after = score(pair.second(), metric);
      if (before != after && after < before == lost) {
        ItemRecord item = pair.first();
        out.add(
            new FlippedItem(
                item.group(), item.key(), metric, Answers.firstLine(item.question()),
                Answers.target(item), Answers.of(item, metric), Answers.of(pair.second(), metric),
                before, after));
      }
    }
    return out;
  }

  /** Whether the second run is worse by any metric: its interval lies wholly below 0. */
  public boolean isWorse() {
    return tasks.stream()
        .flatMap(task -> task.metrics().stream())
        .anyMatch(MetricComparison::isWorse);
  }
}

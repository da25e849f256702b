package ai.sluice.eval.run;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.metrics.GroupStatistics;
import ai.sluice.eval.metrics.Interval;
import ai.sluice.eval.metrics.Statistics;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * What the items of one task amount to, as lm-eval counts it.
 *
 * @param task the task's name; of a group the group's
 * @param size how many items
 * @param metrics by {@code metric,filter}
 * @param members of a group its tasks; else empty
 */
public record TaskSummary(
    String task, int size, Map<String, Estimate> metrics, List<TaskSummary> members) {
  /**
   * A mean and how sure it is.
   *
   * @param mean over the items; of a group over all items of all members
   * @param standardError lm-eval's; of a group the pooled one; empty for a single item
   * @param interval Wilson's at 95 %, of scores that are all 0 or 1; else the mean twice
   */
  public record Estimate(double mean, OptionalDouble standardError, Interval interval) {}

  /** Copies the collections. */
  public TaskSummary {
    metrics = Collections.unmodifiableMap(new LinkedHashMap<>(metrics));
    members = List.copyOf(members);
  }

  /**
   * Sums up items of one task as it was asked for.
   *
   * @param group its name
   * @param items at least one, in their order, all judged
   */
  public static TaskSummary of(String group, List<ItemRecord> items) {
    SortedMap<String, List<ItemRecord>> tasks = new TreeMap<>();
    for (ItemRecord item : items) {
      tasks.computeIfAbsent(item.task(), name -> new ArrayList<>()).add(item);
    }
    List<TaskSummary> members = new ArrayList<>();
    tasks.forEach((name, own) -> members.add(ofTask(name, own)));
    if (members.size() == 1 && members.get(0).task().equals(group)) {
      return members.get(0);
    }
    Map<String, Estimate> metrics = new LinkedHashMap<>();
    for (String metric : items.get(0).scores().metrics().keySet()) {
      List<GroupStatistics.Task> parts =
          tasks.values().stream().map(own -> GroupStatistics.Task.of(values(own, metric))).toList();
      metrics.put(
          metric,
          new Estimate(
              GroupStatistics.microMean(parts), GroupStatistics.microStandardError(parts),
              interval(values(items, metric))));
    }
    return new TaskSummary(group, items.size(), metrics, members);
  }

  private static TaskSummary ofTask(String task, List<ItemRecord> items) {
    Map<String, Estimate> metrics = new LinkedHashMap<>();
    for (String metric : items.get(0).scores().metrics().keySet()) {
      double[] values = values(items, metric);
      metrics.put(
          metric,
          new Estimate(
              Statistics.mean(values), Statistics.standardError(values), interval(values)));
    }
    return new TaskSummary(task, items.size(), metrics, List.of());
  }

  private static double[] values(List<ItemRecord> items, String metric) {
    return items.stream().mapToDouble(item -> value(item, metric)).toArray();
  }

  private static double value(ItemRecord item, String metric) {
    Double value = item.scores().metrics().get(metric);
    if (value == null) {
      throw new InvalidRequestException(
          item.task() + " " + item.index() + ": no " + metric + " (expected: a score, as the"
              + " other items have; eval verify tells what a run's files lack)");
    }
    return value;
  }

  private static Interval interval(double[] values) {
    int right = 0;
    for (double value : values) {
      if (value != 0 && value != 1) {
        double mean = Statistics.mean(values);
        return new Interval(mean, mean);
      }
      right += (int) value;
    }
    return Statistics.wilson95(right, values.length);
  }
}

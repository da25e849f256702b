package ai.sluice.eval.compare;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.run.EvalRun;
import ai.sluice.eval.run.ItemKey;
import ai.sluice.eval.run.ItemRecord;
import ai.sluice.eval.run.RunManifest;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/**
 * The items of one task that two runs have in common, in the order of their keys.
 *
 * @param task of the first run
 * @param pairs judged in both
 * @param unjudged in both, at least one of them without a score
 */
record PairedTask(
    RunManifest.Task task, List<Pair> pairs, int onlyFirst, int onlySecond, int unjudged) {
  /** How many differing prompts a refusal names. */
  private static final int NAMED = 3;

  record Pair(ItemRecord first, ItemRecord second) {}

  /**
   * Pairs the tasks that both runs were asked for, in the first one's order.
   *
   * @throws InvalidRequestException if there is none, or one has another version, other prompts or
   *     other answers
   */
  static List<PairedTask> of(EvalRun first, EvalRun second) {
    return of(first, second, task -> true);
  }

  /** As {@link #of(EvalRun, EvalRun)}, of the tasks with these names alone. */
  static List<PairedTask> of(EvalRun first, EvalRun second, Predicate<String> names) {
    List<PairedTask> out = new ArrayList<>();
    for (RunManifest.Task task : first.manifest().tasks()) {
      for (RunManifest.Task other : second.manifest().tasks()) {
        if (task.name().equals(other.name()) && names.test(task.name())) {
          requireSameVersion(task, other, second);
          out.add(of(task, other, first, second));
        }
      }
    }
    if (out.isEmpty()) {
      throw new InvalidRequestException(
          second.folder() + ": tasks " + names(second) + " (expected: one of " + names(first)
              + ", those of the baseline " + first.folder() + ")");
    }
    return out;
  }

  private static void requireSameVersion(
      RunManifest.Task task, RunManifest.Task other, EvalRun second) {
    if (!task.version().equals(other.version())) {
      throw new InvalidRequestException(
          second.folder() + ": " + task.name() + " of version " + other.version() + " (expected: "
              + task.version() + ", the baseline's; remedy: run the older one again)");
    }
  }

  private static PairedTask of(
      RunManifest.Task task, RunManifest.Task other, EvalRun first, EvalRun second) {
    Map<ItemKey, ItemRecord> mine = byKey(first, task.name());
    Map<ItemKey, ItemRecord> theirs = byKey(second, task.name());
    List<Pair> pairs = new ArrayList<>();
    List<String> differing = new ArrayList<>();
    int common = 0;
    int unjudged = 0;
    for (ItemRecord item : mine.values()) {
      ItemRecord twin = theirs.get(item.key());
      if (twin == null) {
        continue;
      }
      common++;
      if (!item.promptHash().equals(twin.promptHash()) || !item.target().equals(twin.target())) {
        differing.add(item.task() + " " + item.index());
      } else if (item.scores().metrics().isEmpty() || twin.scores().metrics().isEmpty()) {
        unjudged++;
      } else {
        pairs.add(new Pair(item, twin));
      }
    }
    if (!differing.isEmpty()) {
      throw new InvalidRequestException(differing(task, other, second, differing, common));
    }
    return new PairedTask(
        task, List.copyOf(pairs), mine.size() - common, theirs.size() - common, unjudged);
  }

  private static String differing(
      RunManifest.Task task, RunManifest.Task other, EvalRun second, List<String> items,
      int common) {
    String shots =
        task.shots() == other.shots()
            ? ""
            : "; " + other.shots() + " worked examples, there " + task.shots();
    return second.folder() + ": " + items.size() + " of " + common + " prompts of " + task.name()
        + " or their right answers are not the baseline's, first "
        + items.stream().limit(NAMED).collect(Collectors.joining(", ")) + shots
        + " (expected: the same data, examples, template and prompt style)";
  }

  private static Map<ItemKey, ItemRecord> byKey(EvalRun run, String task) {
    Map<ItemKey, ItemRecord> out = new TreeMap<>();
    run.items(task).forEach(item -> out.put(item.key(), item));
    return out;
  }

  private static String names(EvalRun run) {
    return run.manifest().tasks().stream()
        .map(RunManifest.Task::name)
        .collect(Collectors.joining(", "));
  }
}

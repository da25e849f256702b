package ai.sluice.eval.report;

import ai.sluice.eval.run.EvalRun;
import ai.sluice.eval.run.ItemRecord;
import ai.sluice.eval.run.RunManifest;
import ai.sluice.eval.run.TaskSummary;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What the tasks of a run amount to. */
public final class RunSummaries {
  private RunSummaries() {}

  /**
   * By task as it was asked for, in the run's order: its summary over the items that are judged, of
   * MMLU with lm-eval's categories as members. Tasks without judged items are missing.
   */
  public static Map<RunManifest.Task, TaskSummary> of(EvalRun run) {
    Map<RunManifest.Task, TaskSummary> out = new LinkedHashMap<>();
    for (RunManifest.Task task : run.manifest().tasks()) {
      List<ItemRecord> items =
          run.items(task.name()).stream()
              .filter(item -> !item.scores().metrics().isEmpty())
              .toList();
      if (!items.isEmpty()) {
        out.put(
            task,
            MmluCategories.has(task.name())
                ? MmluCategories.nested(task.name(), items)
                : TaskSummary.of(task.name(), items));
      }
    }
    return out;
  }
}

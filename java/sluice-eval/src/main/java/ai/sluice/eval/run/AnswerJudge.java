package ai.sluice.eval.run;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.EvalException;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalPrompt;
import ai.sluice.eval.EvalTask;
import ai.sluice.eval.EvalTasks;
import ai.sluice.eval.ItemScores;
import ai.sluice.eval.sandbox.CodeRunner;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Judges programs of a run that was made without running any. */
public final class AnswerJudge {
  private AnswerJudge() {}

  /**
   * Judges the answers of a run that are not judged yet. They replace their items all at once.
   *
   * @param run the run's folder
   * @param runner runs their programs
   * @param workers programs that run at once
   * @return the items that are judged now
   * @throws InvalidRequestException if the folder holds no run, another process makes it, or the
   *     task of an unjudged item does not exist here
   * @throws EvalException if the folder cannot be written
   */
  public static List<ItemRecord> judge(Path run, CodeRunner runner, int workers) {
    if (workers < 1) {
      throw new InvalidRequestException("workers: " + workers + " (expected: at least 1)");
    }
    List<EvalTask> tasks =
        EvalRun.read(run).items().values().stream()
            .filter(item -> item.scores().metrics().isEmpty())
            .map(ItemRecord::group)
            .distinct()
            .map(EvalTasks::named)
            .toList();
    ExecutorService pool = Executors.newFixedThreadPool(workers);
    try (ItemLog log = ItemLog.open(run, false, AppendFile::new)) {
      return judge(log, tasks, runner, pool);
    } finally {
      pool.shutdownNow();
    }
  }

  static List<ItemRecord> judge(
      ItemLog log, List<EvalTask> tasks, CodeRunner runner, ExecutorService pool) {
    Map<ItemRecord, Future<ItemScores>> pending = new LinkedHashMap<>();
    for (ItemRecord record : log.done().values()) {
      if (record.scores().metrics().isEmpty()) {
        tasks.stream()
            .filter(task -> task.runsCode() && task.name().equals(record.group()))
            .findFirst()
            .ifPresent(
                task ->
                    pending.put(
                        record,
                        pool.submit(() -> task.scores(item(record), record.answer(), runner))));
      }
    }
    List<ItemRecord> judged = new ArrayList<>();
    pending.forEach((record, scores) -> judged.add(record.judged(joined(record, scores))));
    if (!judged.isEmpty()) {
      log.rewrite(judged);
    }
    return judged;
  }

  // What a program is made of is in the item and its document.
  private static EvalItem item(ItemRecord record) {
    return new EvalItem(
        record.task(), record.index(), EvalPrompt.of("", List.of(), record.question()), List.of(),
        record.target(), record.doc());
  }

  private static ItemScores joined(ItemRecord record, Future<ItemScores> scores) {
    try {
      return scores.get();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new EvalException(record.task() + ": interrupted (expected: all answers judged)", e);
    } catch (ExecutionException e) {
      throw new EvalException(
          record.task() + ", item " + record.index() + ": not judged: " + e.getCause(), e);
    }
  }
}

package ai.sluice.eval;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.tasks.DeepSeekGsm8kTask;
import ai.sluice.eval.tasks.DeepSeekMmluTask;
import ai.sluice.eval.tasks.Gsm8kCotTask;
import ai.sluice.eval.tasks.Gsm8kTask;
import ai.sluice.eval.tasks.HumanEvalInstructTask;
import ai.sluice.eval.tasks.HumanEvalTask;
import ai.sluice.eval.tasks.JsonLinesTask;
import ai.sluice.eval.tasks.MmluContinuationTask;
import ai.sluice.eval.tasks.MmluTask;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.ServiceConfigurationError;
import java.util.ServiceLoader;
import java.util.stream.Collectors;

/** The tasks there are: those of the library, then those found as services. */
public final class EvalTasks {
  private EvalTasks() {}

  /**
   * All tasks, the library's first.
   *
   * @throws EvalException when a user's task cannot be made or has the name of another
   */
  public static List<EvalTask> all() {
    List<EvalTask> tasks = new ArrayList<>();
    tasks.add(new MmluTask());
    tasks.add(new MmluContinuationTask());
    tasks.add(new Gsm8kTask());
    tasks.add(new Gsm8kCotTask());
    tasks.add(new HumanEvalTask());
    tasks.add(new HumanEvalInstructTask());
    try {
      ServiceLoader.load(EvalTask.class).forEach(task -> add(tasks, task));
    } catch (ServiceConfigurationError e) {
      throw new EvalException(
          "tasks on the class path: " + e.getMessage() + " (expected: classes that implement"
              + " EvalTask, each public with a public constructor without arguments)",
          e);
    }
    return tasks;
  }

  private static void add(List<EvalTask> tasks, EvalTask own) {
    for (EvalTask task : tasks) {
      if (task.name().equals(own.name())) {
        throw new EvalException(
            "task: " + own.name() + " of " + own.getClass().getName()
                + " (expected: a name that no other task has)");
      }
    }
    tasks.add(own);
  }

  /**
   * All tasks of a style. Of DeepSeek's these are the ones whose format is published.
   *
   * @param style whose wording
   */
  public static List<EvalTask> all(PromptStyle style) {
    return switch (style) {
      case LM_EVAL -> all();
      case DEEPSEEK ->
          List.of(new DeepSeekMmluTask(), new DeepSeekGsm8kTask(), new HumanEvalTask());
    };
  }

  /**
   * The task of a name in a style.
   *
   * @throws InvalidRequestException when there is no such task, or it has no such style
   */
  public static EvalTask named(String name, PromptStyle style) {
    if (style == PromptStyle.LM_EVAL) {
      return named(name);
    }
    String known = named(name).name();
    List<EvalTask> tasks = all(style);
    return tasks.stream()
        .filter(task -> task.name().equals(known))
        .findFirst()
        .orElseThrow(
            () ->
                new InvalidRequestException(
                    "prompt-style: " + style.label() + " for " + name + " (expected: one of "
                        + tasks.stream().map(EvalTask::name).collect(Collectors.joining(", "))
                        + ", no other format of it is published; remedy: --prompt-style lm-eval)"));
  }

  /**
   * The task of a name, in lm-eval's style; of a path that ends in {@code .jsonl} that file's.
   *
   * @throws InvalidRequestException when there is none, with the names nearest to it, or the file
   *     is malformed
   */
  public static EvalTask named(String name) {
    List<EvalTask> tasks = all();
    if (name.endsWith(JsonLinesTask.SUFFIX)) {
      EvalTask own = new JsonLinesTask(Path.of(name));
      if (tasks.stream().anyMatch(task -> task.name().equals(own.name()))) {
        throw new InvalidRequestException(
            "task: " + name + " (expected: a file name that no task has; remedy: rename it)");
      }
      return own;
    }
    return tasks.stream()
        .filter(task -> task.name().equals(name))
        .findFirst()
        .orElseThrow(
            () ->
                new InvalidRequestException(
                    "task: "
                        + name
                        + " (expected: "
                        + Names.nearest(
                            name, tasks.stream().map(EvalTask::name).toList(), tasks.size())
                        + ")"));
  }
}

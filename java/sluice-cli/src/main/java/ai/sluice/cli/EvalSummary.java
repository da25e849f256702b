package ai.sluice.cli;

import ai.sluice.eval.run.EvalProgress;
import ai.sluice.eval.run.EvalRun;
import ai.sluice.eval.run.ItemRecord;
import ai.sluice.eval.run.RunManifest;
import ai.sluice.eval.run.TaskSummary;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** What an evaluation came to. */
final class EvalSummary {
  private EvalSummary() {}

  /** Where the time and the tokens went, and what a reader should know about the items. */
  static String costs(EvalProgress end) {
    StringBuilder text = new StringBuilder();
    if (end.done() > 0) {
      text.append(
          String.format(
              Locale.ROOT,
              "%d items in %s (%.1f/s)%s%n",
              end.done(),
              BatchProgress.duration(end.seconds()),
              end.done() / Math.max(end.seconds(), 1e-3),
              end.before() > 0 ? "; " + end.before() + " by earlier runs" : ""));
      text.append(
          String.format(
              Locale.ROOT,
              "%,d prompt tokens, %,d computed (%.1f %% cached), %,d new%n",
              end.promptTokens(),
              end.promptTokens() - end.cachedTokens(),
              100 * end.hitRate(),
              end.newTokens()));
    }
    text.append(
        String.format(
            Locale.ROOT,
            "%d prompts too long, cut at their beginning; %d ties, which go to the first choice%n",
            end.truncated(),
            end.tied()));
    if (end.unjudged() > 0) {
      text.append("programs not run: ")
          .append(end.unjudged())
          .append("; 'sluice eval score RUN' judges them where there is a sandbox\n");
    }
    return text.toString();
  }

  private static List<ItemRecord> judged(EvalRun run, String task) {
    return run.items(task).stream().filter(item -> !item.scores().metrics().isEmpty()).toList();
  }

  /** A line for each metric. */
  static String table(EvalRun run) {
    StringBuilder text = new StringBuilder();
    text.append(
        String.format(
            Locale.ROOT, "%-20s %5s %6s  %-28s %7s %7s%n", "task", "shots", "items", "metric",
            "value", "stderr"));
    for (RunManifest.Task task : run.manifest().tasks()) {
      List<ItemRecord> items = judged(run, task.name());
      if (items.isEmpty()) {
        text.append(
            String.format(
                Locale.ROOT, "%-20s %5d %6d  %s%n", task.name(), task.shots(), task.items(),
                "not judged"));
        continue;
      }
      TaskSummary.of(task.name(), items)
          .metrics()
          .forEach(
              (metric, estimate) ->
                  text.append(
                      String.format(
                          Locale.ROOT,
                          "%-20s %5d %6d  %-28s %7.4f %7s%n",
                          task.name(),
                          task.shots(),
                          items.size(),
                          metric.replaceFirst(",none$", ""),
                          estimate.mean(),
                          estimate.standardError().isPresent()
                              ? String.format(
                                  Locale.ROOT, "%.4f", estimate.standardError().getAsDouble())
                              : "N/A")));
    }
    return text.toString();
  }

  /** The same as JSON, with lm-eval's names of metrics. */
  static String json(EvalRun run) {
    StringWriter text = new StringWriter();
    try (JsonGenerator out = new JsonFactory().createGenerator(text).useDefaultPrettyPrinter()) {
      out.writeStartObject();
      out.writeStringField("run", run.folder().toString());
      out.writeObjectFieldStart("results");
      for (RunManifest.Task task : run.manifest().tasks()) {
        out.writeObjectFieldStart(task.name());
        out.writeNumberField("shots", task.shots());
        out.writeNumberField("items", task.items());
        List<ItemRecord> items = judged(run, task.name());
        if (!items.isEmpty()) {
          metrics(out, TaskSummary.of(task.name(), items).metrics());
        }
        out.writeEndObject();
      }
      out.writeEndObject();
      out.writeEndObject();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return text + "\n";
  }

  private static void metrics(JsonGenerator out, Map<String, TaskSummary.Estimate> metrics)
      throws IOException {
    for (Map.Entry<String, TaskSummary.Estimate> metric : metrics.entrySet()) {
      out.writeNumberField(metric.getKey(), metric.getValue().mean());
      if (metric.getValue().standardError().isPresent()) {
        out.writeNumberField(
            metric.getKey().replaceFirst(",", "_stderr,"),
            metric.getValue().standardError().getAsDouble());
      }
    }
  }
}

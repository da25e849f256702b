package ai.sluice.cli;

import ai.sluice.eval.compare.FlippedItem;
import ai.sluice.eval.compare.MetricComparison;
import ai.sluice.eval.compare.RunComparison;
import ai.sluice.eval.compare.TaskComparison;
import ai.sluice.eval.metrics.Bootstrap;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** A comparison of two runs, for people and as JSON. */
final class EvalCompareText {
  private static final String ROW = "  %-18s %6s %6s %7s  %-16s %6s %4s %4s%n";
  private static final int SHORT = 14;

  private EvalCompareText() {}

  /** Tables of at most {@code columns} columns, with the first {@code items} flips of a metric. */
  static String of(RunComparison comparison, boolean clustered, int items, int columns) {
    StringBuilder out = new StringBuilder();
    out.append("baseline  ").append(comparison.baseline()).append('\n');
    out.append("other     ").append(comparison.other()).append('\n');
    for (RunComparison.Difference each : comparison.differences()) {
      out.append(
          cut(
              "          " + each.name() + ": " + value(each.baseline()) + " -> "
                  + value(each.other()),
              columns));
      out.append('\n');
    }
    for (TaskComparison task : comparison.tasks()) {
      out.append('\n').append(title(task)).append('\n');
      if (task.metrics().isEmpty()) {
        out.append("  nothing to compare\n");
        continue;
      }
      out.append(
          String.format(
              Locale.ROOT, ROW, "metric", "base", "other", "diff", "95 % interval", "p", "lost",
              "won"));
      task.metrics().forEach(metric -> out.append(row(metric)));
      if (clustered) {
        out.append("  ").append(clusters(task)).append('\n');
      }
    }
    out.append(
        "\ndiff: other minus baseline. p: McNemar's exact test. Interval: paired bootstrap.\n");
    if (items > 0) {
      flips(out, comparison, items, columns);
    }
    out.append('\n').append(verdict(comparison)).append('\n');
    return out.toString();
  }

  private static String value(String value) {
    return value.isEmpty() ? "none" : value.matches("[0-9a-f]{64}") ? value.substring(0, 8) : value;
  }

  private static String title(TaskComparison task) {
    StringBuilder out = new StringBuilder(task.task());
    out.append(", ").append(task.shots()).append("-shot: ").append(task.items());
    out.append(" items in both");
    count(out, task.onlyBaseline(), " in the baseline alone");
    count(out, task.onlyOther(), " in the other alone");
    count(out, task.unjudged(), " not judged");
    return out.toString();
  }

  private static void count(StringBuilder out, int count, String what) {
    if (count > 0) {
      out.append(", ").append(count).append(what);
    }
  }

  private static String row(MetricComparison metric) {
    return String.format(
        Locale.ROOT, ROW, label(metric.metric()), score(metric.baseline()), score(metric.other()),
        String.format(Locale.ROOT, "%+.4f", metric.difference()),
        metric.interval()
            .map(i -> String.format(Locale.ROOT, "%+.4f..%+.4f", i.low(), i.high()))
            .orElse("too few items"),
        metric.mcNemarP().isPresent() ? probability(metric.mcNemarP().getAsDouble()) : "-",
        metric.lost(), metric.won());
  }

  private static String clusters(TaskComparison task) {
    int clusters = task.metrics().get(0).clusters();
    return clusters == 0
        ? "one subject: items drawn alone"
        : "items of " + clusters + " subjects drawn together";
  }

  /** A metric in few columns: of exact_match its filter, which tells it apart. */
  static String label(String metric) {
    return metric.replaceFirst(",none$", "").replaceFirst("^exact_match,", "");
  }

  private static String score(double value) {
    return String.format(Locale.ROOT, "%.4f", value);
  }

  private static String probability(double p) {
    return p < 5e-5 ? "<1e-4" : String.format(Locale.ROOT, "%.4f", p);
  }

  private static void flips(
      StringBuilder out, RunComparison comparison, int items, int columns) {
    for (TaskComparison task : comparison.tasks()) {
      for (MetricComparison metric : task.metrics()) {
        List<FlippedItem> own =
            comparison.flipped().stream()
                .filter(
                    item ->
                        item.group().equals(task.task()) && item.metric().equals(metric.metric()))
                .toList();
        if (own.isEmpty()) {
          continue;
        }
        out.append('\n').append(task.task()).append(' ').append(label(metric.metric()));
        out.append(", flipped: ").append(own.size());
        if (own.size() > items) {
          out.append(", the first ").append(items).append(" (--items N for more)");
        }
        out.append('\n');
        own.stream().limit(items).forEach(item -> out.append(line(item, columns)));
      }
    }
  }

  private static String line(FlippedItem item, int columns) {
    String head =
        String.format(
            Locale.ROOT, "  %-4s %s %d: %s -> %s%s  ", item.isLost() ? "lost" : "won",
            item.key().task(), item.key().index(), shortened(item.baselineAnswer()),
            shortened(item.otherAnswer()),
            item.target().isEmpty() ? "" : " (right: " + shortened(item.target()) + ")");
    int room = columns - head.length();
    return (room < 20
            ? head.stripTrailing() + "\n       " + cut(item.question(), columns - 7)
            : head + cut(item.question(), room))
        + "\n";
  }

  private static String shortened(String answer) {
    String line = answer.strip().lines().findFirst().orElse("");
    return line.isEmpty() ? "nothing" : cut(line, SHORT);
  }

  /** At most {@code columns} columns of one line; nothing in it moves the cursor. */
  private static String cut(String text, int columns) {
    String clean = text.replaceAll("\\p{Cntrl}", " ");
    int count = clean.codePointCount(0, clean.length());
    return count <= columns
        ? clean
        : clean.substring(0, clean.offsetByCodePoints(0, Math.max(0, columns - 3))) + "...";
  }

  /** One line: what is worse than the baseline, and what is better. */
  static String verdict(RunComparison comparison) {
    String worse = names(comparison, true);
    String better = names(comparison, false);
    if (worse.isEmpty() && better.isEmpty()) {
      return "No interval lies wholly on one side of 0: no difference is shown.";
    }
    return (worse.isEmpty() ? "" : "Worse than the baseline: " + worse + ".")
        + (worse.isEmpty() || better.isEmpty() ? "" : " ")
        + (better.isEmpty() ? "" : "Better than the baseline: " + better + ".");
  }

  private static String names(RunComparison comparison, boolean worse) {
    StringBuilder out = new StringBuilder();
    for (TaskComparison task : comparison.tasks()) {
      for (MetricComparison metric : task.metrics()) {
        if (worse ? metric.isWorse() : metric.isBetter()) {
          out.append(out.isEmpty() ? "" : ", ");
          out.append(task.task()).append(' ').append(label(metric.metric()));
        }
      }
    }
    return out.toString();
  }

  static String json(RunComparison comparison, boolean clustered, int items) {
    StringWriter text = new StringWriter();
    try (JsonGenerator out = new JsonFactory().createGenerator(text).useDefaultPrettyPrinter()) {
      out.writeStartObject();
      out.writeStringField("baseline", comparison.baseline().toString());
      out.writeStringField("other", comparison.other().toString());
      out.writeObjectFieldStart("differences");
      for (RunComparison.Difference each : comparison.differences()) {
        out.writeArrayFieldStart(each.name());
        out.writeString(each.baseline());
        out.writeString(each.other());
        out.writeEndArray();
      }
      out.writeEndObject();
      out.writeBooleanField("worse", comparison.isWorse());
      out.writeObjectFieldStart("bootstrap");
      out.writeNumberField("resamples", Bootstrap.DEFAULT_RESAMPLES);
      out.writeNumberField("seed", RunComparison.SEED);
      out.writeBooleanField("clustered", clustered);
      out.writeEndObject();
      out.writeArrayFieldStart("tasks");
      for (TaskComparison task : comparison.tasks()) {
        write(out, task);
      }
      out.writeEndArray();
      out.writeNumberField("flipped_total", comparison.flipped().size());
      out.writeArrayFieldStart("flipped");
      Map<String, Integer> written = new HashMap<>();
      for (FlippedItem item : comparison.flipped()) {
        if (written.merge(item.group() + " " + item.metric(), 1, Integer::sum) <= items) {
          write(out, item);
        }
      }
      out.writeEndArray();
      out.writeEndObject();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return text + "\n";
  }

  private static void write(JsonGenerator out, TaskComparison task) throws IOException {
    out.writeStartObject();
    out.writeStringField("task", task.task());
    out.writeNumberField("shots", task.shots());
    out.writeNumberField("items", task.items());
    out.writeNumberField("only_baseline", task.onlyBaseline());
    out.writeNumberField("only_other", task.onlyOther());
    out.writeNumberField("unjudged", task.unjudged());
    out.writeArrayFieldStart("metrics");
    for (MetricComparison metric : task.metrics()) {
      out.writeStartObject();
      out.writeStringField("metric", metric.metric());
      out.writeNumberField("baseline", metric.baseline());
      out.writeNumberField("other", metric.other());
      out.writeNumberField("difference", metric.difference());
      if (metric.interval().isPresent()) {
        out.writeArrayFieldStart("interval_95");
        out.writeNumber(metric.interval().get().low());
        out.writeNumber(metric.interval().get().high());
        out.writeEndArray();
      }
      out.writeNumberField("clusters", metric.clusters());
      out.writeNumberField("lost", metric.lost());
      out.writeNumberField("won", metric.won());
      if (metric.mcNemarP().isPresent()) {
        out.writeNumberField("mcnemar_p", metric.mcNemarP().getAsDouble());
      }
      out.writeBooleanField("worse", metric.isWorse());
      out.writeEndObject();
    }
    out.writeEndArray();
    out.writeEndObject();
  }

  private static void write(JsonGenerator out, FlippedItem item) throws IOException {
    out.writeStartObject();
    out.writeStringField("task", item.key().task());
    out.writeNumberField("index", item.key().index());
    out.writeStringField("metric", item.metric());
    out.writeNumberField("baseline_score", item.baselineScore());
    out.writeNumberField("other_score", item.otherScore());
    out.writeStringField("question", item.question());
    out.writeStringField("target", item.target());
    out.writeStringField("baseline_answer", item.baselineAnswer());
    out.writeStringField("other_answer", item.otherAnswer());
    out.writeEndObject();
  }
}

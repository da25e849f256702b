package ai.sluice.eval.report;

import ai.sluice.eval.EvalException;
import ai.sluice.eval.run.EvalRun;
import ai.sluice.eval.run.ItemKey;
import ai.sluice.eval.run.ItemRecord;
import ai.sluice.eval.run.ItemTiming;
import ai.sluice.eval.run.RunManifest;
import ai.sluice.eval.run.TaskSummary;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SortedMap;
import java.util.function.ToDoubleFunction;

/**
 * A run as one page of HTML that needs no other file and no network. What models and data sets say
 * is shown as text and never as markup.
 */
public final class HtmlReport {
  private HtmlReport() {}

  /**
   * Writes the page; a file that is there is replaced at once.
   *
   * @throws EvalException if it cannot be written
   */
  public static void write(EvalRun run, Path file) {
    Path part = file.resolveSibling(file.getFileName() + ".part");
    try {
      Files.writeString(part, page(run));
      Files.move(part, file, StandardCopyOption.REPLACE_EXISTING);
    } catch (IOException e) {
      throw new EvalException(
          file + ": cannot be written: " + e + " (expected: a folder that can be written to)", e);
    }
  }

  /** The page's text. */
  static String page(EvalRun run) {
    SortedMap<ItemKey, ItemTiming> timings = ItemTiming.read(run.folder());
    Map<RunManifest.Task, TaskSummary> summaries = RunSummaries.of(run);
    String name = String.valueOf(run.folder().toAbsolutePath().normalize().getFileName());
    StringBuilder out = new StringBuilder();
    out.append("<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n")
        .append("<meta name=viewport content=\"width=device-width,initial-scale=1\">\n")
        .append(
            "<meta http-equiv=Content-Security-Policy content=\"default-src 'none';"
                + " style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n")
        .append("<title>").append(Plots.escaped(name)).append("</title>\n<style>\n")
        .append(resource("report.css")).append("</style>\n<body>\n<h1>")
        .append(Plots.escaped(name)).append("</h1>\n");
    told(run, out);
    scores(run, summaries, out);
    subjects(summaries, out);
    calibration(run, out);
    costs(timings, out);
    items(out);
    manifest(run, out);
    out.append("<script type=\"application/json\" id=data>")
        .append(ReportData.json(run, timings))
        .append("</script>\n<script>\n").append(resource("report.js"))
        .append("</script>\n</body>\n</html>\n");
    return out.toString();
  }

  private static void told(EvalRun run, StringBuilder out) {
    Map<String, String> environment = run.manifest().environment();
    List<String> parts = new ArrayList<>();
    for (String key : List.of("model", "started")) {
      if (environment.containsKey(key)) {
        parts.add(environment.get(key));
      }
    }
    for (String key : List.of("dtype", "numerics", "backend", "prompt_style")) {
      if (run.manifest().identity().containsKey(key)) {
        parts.add(run.manifest().identity().get(key));
      }
    }
    out.append("<p class=sub>").append(Plots.escaped(String.join(" · ", parts))).append("</p>\n");
    int missing =
        run.manifest().tasks().stream().mapToInt(RunManifest.Task::items).sum()
            - run.items().size();
    if (missing > 0) {
      out.append("<p class=sub><b>Not complete: ").append(missing)
          .append(" items are missing.</b></p>\n");
    }
  }

  private static void scores(
      EvalRun run, Map<RunManifest.Task, TaskSummary> summaries, StringBuilder out) {
    out.append("<h2>Scores</h2>\n<div class=card><table><thead><tr><th>task<th>metric")
        .append("<th class=n>score<th class=n>95 % interval<th class=n>stderr<th class=n>items")
        .append("<th class=n>examples</thead><tbody>\n");
    for (RunManifest.Task task : run.manifest().tasks()) {
      TaskSummary summary = summaries.get(task);
      if (summary == null) {
        out.append("<tr><td>").append(Plots.escaped(task.name()))
            .append("<td colspan=6 class=none>not judged\n");
        continue;
      }
      rows(summary, task, false, out);
      if (MmluCategories.has(task.name())) {
        summary.members().stream()
            .filter(member -> !member.members().isEmpty())
            .forEach(member -> rows(member, task, true, out));
      }
    }
    out.append("</tbody></table></div>\n");
  }

  private static void rows(
      TaskSummary summary, RunManifest.Task task, boolean inner, StringBuilder out) {
    summary
        .metrics()
        .forEach(
            (metric, estimate) ->
                out.append(
                    String.format(
                        Locale.ROOT,
                        "<tr><td%s>%s<td>%s<td class=\"n%s\">%.2f %%<td class=n>%.2f – %.2f"
                            + "<td class=n>%s<td class=n>%,d<td class=n>%d%n",
                        inner ? " class=in" : "",
                        Plots.escaped(MmluCategories.alias(task.name(), summary.task())),
                        Plots.escaped(metric.replaceFirst(",none$", "")),
                        inner ? "" : " big",
                        100 * estimate.mean(), 100 * estimate.interval().low(),
                        100 * estimate.interval().high(),
                        estimate.standardError().isPresent()
                            ? String.format(
                                Locale.ROOT, "%.2f", 100 * estimate.standardError().getAsDouble())
                            : "N/A",
                        summary.size(), task.shots())));
  }

  private static void subjects(Map<RunManifest.Task, TaskSummary> summaries, StringBuilder out) {
    summaries.forEach(
        (task, summary) -> {
          List<TaskSummary> leaves = new ArrayList<>();
          leaves(summary, leaves);
          if (leaves.size() > 1) {
            String metric = summary.metrics().keySet().iterator().next();
            List<TaskSummary> named =
                leaves.stream()
                    .map(
                        leaf ->
                            new TaskSummary(
                                MmluCategories.alias(task.name(), leaf.task()), leaf.size(),
                                leaf.metrics(), List.of()))
                    .toList();
            out.append("<h2>").append(Plots.escaped(task.name())).append(" by subject</h2>\n")
                .append("<div class=card>").append(Plots.bars(named, metric))
                .append("<p class=note>").append(Plots.escaped(metric))
                .append("; lines: 95 % intervals</p></div>\n");
          }
        });
  }

  private static void leaves(TaskSummary summary, List<TaskSummary> out) {
    if (summary.members().isEmpty()) {
      out.add(summary);
    }
    summary.members().forEach(member -> leaves(member, out));
  }

  private static void calibration(EvalRun run, StringBuilder out) {
    StringBuilder cards = new StringBuilder();
    for (RunManifest.Task task : run.manifest().tasks()) {
      Calibration calibration = Calibration.of(run.items(task.name()));
      if (calibration.items() > 0) {
        cards.append("<div class=card><h3>").append(Plots.escaped(task.name())).append("</h3>")
            .append(Plots.calibration(calibration)).append("</div>\n");
      }
    }
    if (cards.length() > 0) {
      out.append("<h2>Calibration</h2>\n<div class=grid>").append(cards).append("</div>\n");
    }
  }

  private static void costs(SortedMap<ItemKey, ItemTiming> timings, StringBuilder out) {
    if (timings.isEmpty()) {
      return;
    }
    out.append("<h2>Lengths and latency</h2>\n<div class=grid>");
    histogram("Prompt tokens", "tokens", timings, ItemTiming::promptTokens, out);
    histogram("New tokens, or of all choices", "tokens", timings, ItemTiming::newTokens, out);
    histogram(
        "Seconds from asking to the answer, beside all that was asked at once", "s", timings,
        ItemTiming::seconds, out);
    out.append("</div>\n");
  }

  private static void histogram(
      String title,
      String unit,
      SortedMap<ItemKey, ItemTiming> timings,
      ToDoubleFunction<ItemTiming> value,
      StringBuilder out) {
    out.append("<div class=card><h3>").append(title).append("</h3>")
        .append(Plots.histogram(timings.values().stream().mapToDouble(value).toArray(), unit))
        .append("</div>\n");
  }

  private static void items(StringBuilder out) {
    out.append("<h2>Items</h2>\n<div class=card><div class=tools>")
        .append("<input type=search id=search placeholder=\"words of question or answer\"")
        .append(" aria-label=\"words of question or answer\">")
        .append("<select id=task aria-label=task><option value=\"\">all tasks</option></select>")
        .append("<select id=verdict aria-label=verdict><option value=\"\">right and wrong</option>")
        .append("<option value=right>right</option><option value=wrong>wrong</option>")
        .append("<option value=none>not judged</option></select>")
        .append("<span class=what id=count></span></div><div id=list>")
        .append("<noscript>The items need JavaScript; all else is above.</noscript></div>")
        .append("<p class=more><button id=more hidden></button></p></div>\n");
  }

  private static void manifest(EvalRun run, StringBuilder out) {
    out.append("<h2>Made with</h2>\n<div class=card><table><tbody>\n");
    for (Map<String, String> part :
        List.of(run.manifest().identity(), run.manifest().environment())) {
      part.forEach(
          (key, value) ->
              out.append("<tr><td class=what>").append(Plots.escaped(key)).append("<td class=what>")
                  .append(Plots.escaped(value)).append('\n'));
    }
    out.append("</tbody></table></div>\n");
  }

  private static String resource(String name) {
    try (InputStream in = HtmlReport.class.getResourceAsStream(name)) {
      if (in == null) {
        throw new EvalException(name + ": not in the jar (remedy: build it again)");
      }
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new EvalException(name + ": cannot be read: " + e.getMessage(), e);
    }
  }
}

package ai.sluice.eval.compare;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.compare.EvalTable.Cell;
import ai.sluice.eval.compare.EvalTable.Kind;
import ai.sluice.eval.compare.EvalTable.Row;
import ai.sluice.eval.perf.PerfReport;
import ai.sluice.eval.run.EvalRun;
import ai.sluice.eval.run.ItemRecord;
import ai.sluice.eval.run.ItemTiming;
import ai.sluice.eval.run.RunManifest;
import ai.sluice.eval.run.TaskSummary;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;

/** Gathers the rows of a table. Used once, by one thread. */
final class TableRows {
  private final List<EvalRun> runs;
  private final List<String> names;
  private final Set<String> notes = new LinkedHashSet<>();

  /** By label, in the order in which they are met. */
  private final Map<String, Values> rows = new LinkedHashMap<>();

  /** A row in the making: by column a value, if there is one. */
  private static final class Values {
    final Kind kind;
    final @org.jspecify.annotations.Nullable Cell[] cells;
    /** Columns whose items are not the baseline's. */
    final Set<Integer> apart = new LinkedHashSet<>();
    /** Columns whose difference is certain. */
    final Set<Integer> certain = new LinkedHashSet<>();

    Values(Kind kind, int columns) {
      this.kind = kind;
      this.cells = new Cell[columns];
    }
  }

  TableRows(List<EvalRun> runs) {
    this.runs = runs;
    this.names = RunNames.of(runs);
  }

  EvalTable table() {
    for (int column = 0; column < runs.size(); column++) {
      scores(column);
    }
    List<Optional<PerfReport>> reports =
        runs.stream().map(run -> PerfReport.read(run.folder())).toList();
    for (int column = 0; column < runs.size(); column++) {
      evaluated(column);
    }
    perf(reports);
    List<Row> out = new ArrayList<>();
    rows.forEach((label, values) -> out.add(row(label, values)));
    if (out.stream().noneMatch(row -> row.label().startsWith("ms per token"))) {
      notes.add("ms per token: no run has it (remedy: eval perf --out RUN)");
      out.add(
          new Row(
              "ms per token", Kind.MILLISECONDS,
              runs.stream().map(run -> Optional.<Cell>empty()).toList()));
    }
    return new EvalTable(names, out, List.copyOf(notes));
  }

  private Values values(String label, Kind kind) {
    return rows.computeIfAbsent(label, name -> new Values(kind, runs.size()));
  }

  private void put(int column, String label, Kind kind, double value) {
    values(label, kind).cells[column] =
        new Cell(value, Optional.empty(), OptionalDouble.empty(), false);
  }

  private void scores(int column) {
    EvalRun run = runs.get(column);
    if (!run.isComplete()) {
      notes.add(names.get(column) + ": not complete, scores are those of the items done");
    }
    for (RunManifest.Task task : run.manifest().tasks()) {
      List<ItemRecord> judged =
          run.items(task.name()).stream()
              .filter(item -> !item.scores().metrics().isEmpty())
              .toList();
      if (judged.isEmpty()) {
        continue;
      }
      Optional<TaskComparison> pair = column == 0 ? Optional.empty() : pair(column, task);
      Map<String, TaskSummary.Estimate> metrics = TaskSummary.of(task.name(), judged).metrics();
      metrics.forEach(
          (metric, estimate) -> {
            Values values = values(label(task, metric, metrics.keySet()), Kind.SCORE);
            values.cells[column] =
                new Cell(
                    estimate.mean(), Optional.of(estimate.interval()),
                    OptionalDouble.empty(), false);
            pair.ifPresent(both -> mark(values, column, both, metric));
            if (column > 0 && pair.isEmpty()) {
              values.apart.add(column);
            }
          });
    }
  }

  private static String label(RunManifest.Task task, String metric, Set<String> all) {
    return task.name() + " " + task.shots() + "-shot " + shortened(metric, all);
  }

  /** Without the filter where no other one has the metric; of exact_match the filter alone. */
  private static String shortened(String metric, Set<String> all) {
    String name = metric.replaceFirst(",.*", "");
    long filters = all.stream().filter(each -> each.startsWith(name + ",")).count();
    return filters < 2 ? name : metric.replaceFirst("^exact_match,", "");
  }

  private static void mark(Values values, int column, TaskComparison both, String metric) {
    if (both.onlyBaseline() + both.onlyOther() + both.unjudged() > 0) {
      values.apart.add(column);
    }
    both.metrics().stream()
        .filter(each -> each.metric().equals(metric) && (each.isWorse() || each.isBetter()))
        .forEach(each -> values.certain.add(column));
  }

  /** Against the baseline, if both were asked the same. */
  private Optional<TaskComparison> pair(int column, RunManifest.Task task) {
    EvalRun baseline = runs.get(0);
    boolean known =
        baseline.manifest().tasks().stream().anyMatch(each -> each.name().equals(task.name()));
    if (!known) {
      return Optional.empty();
    }
    try {
      return RunComparison.of(
              baseline, runs.get(column), RunComparison.Settings.ALL, task.name()::equals)
          .tasks().stream()
          .findFirst();
    } catch (InvalidRequestException e) {
      notes.add(names.get(column) + ", " + task.name() + ": " + e.getMessage());
      return Optional.empty();
    }
  }

  /** What the answers of an evaluation took, beside others that were computed with them. */
  private void evaluated(int column) {
    EvalRun run = runs.get(column);
    double[] each =
        ItemTiming.read(run.folder()).values().stream()
            .filter(timing -> timing.newTokens() > 1 && generated(run, timing))
            .mapToDouble(timing -> timing.seconds() * 1e3 / timing.newTokens())
            .sorted()
            .toArray();
    if (each.length > 0) {
      String at = run.manifest().environment().getOrDefault("max_sequences", "");
      put(
          column, "ms per token, evaluated" + (at.isEmpty() ? "" : " x" + at), Kind.MILLISECONDS,
          median(each));
      notes.add(
          "ms per token, evaluated: median over the generated answers of their time, waiting"
              + " included, by their tokens" + (at.isEmpty() ? "" : "; xN: N answers at once"));
    }
  }

  private static boolean generated(EvalRun run, ItemTiming timing) {
    ItemRecord item = run.items().get(timing.key());
    return item != null && !item.answer().texts().isEmpty();
  }

  private static double median(double[] sorted) {
    int half = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  }

  private void perf(List<Optional<PerfReport>> reports) {
    Set<String> lengths = new LinkedHashSet<>();
    reports.forEach(report -> report.ifPresent(each -> lengths.add(lengths(each))));
    for (int column = 0; column < reports.size(); column++) {
      PerfReport report = reports.get(column).orElse(null);
      if (report == null) {
        if (!lengths.isEmpty()) {
          notes.add(
              names.get(column) + ": no perf.json (remedy: eval perf --out "
                  + runs.get(column).folder() + ")");
        }
        continue;
      }
      notes.add(names.get(column) + ": speeds on " + place(report, runs.get(column)));
      // Lengths are told once if all runs have the same.
      String suffix = lengths.size() == 1 ? "" : " " + lengths(report);
      for (PerfReport.Level level : report.levels()) {
        String at = " x" + level.concurrency() + suffix;
        put(column, "ms per token" + at, Kind.MILLISECONDS, level.perToken().median());
        put(column, "ms to first token" + at, Kind.MILLISECONDS, level.firstToken().median());
        put(column, "tokens/s" + at, Kind.TOKENS_PER_SECOND, level.tokensPerSecond());
        final int at0 = column;
        level
            .tokensPerJoule()
            .ifPresent(v -> put(at0, "tokens per joule" + at, Kind.TOKENS_PER_JOULE, v));
        level.kvBytes().ifPresent(v -> put(at0, "KV cache" + at, Kind.BYTES, v));
      }
    }
    if (!lengths.isEmpty()) {
      notes.add(
          "xN: N requests at once, medians"
              + (lengths.size() == 1
                  ? ", " + lengths.iterator().next() + " tokens (prompt+new)"
                  : "; tokens of prompt+new"));
    }
  }

  /** Where and how speeds were measured, and the scores where that was another way. */
  private static String place(PerfReport report, EvalRun run) {
    List<String> out = new ArrayList<>();
    for (String name : List.of("backend", "dtype", "numerics")) {
      String value = report.environment().getOrDefault(name, "?").toLowerCase(Locale.ROOT);
      String scored =
          run.manifest().identity().getOrDefault(name, value).toLowerCase(Locale.ROOT);
      out.add(value + (scored.equals(value) ? "" : " (scores: " + scored + ")"));
    }
    return String.join(", ", out) + ", " + report.environment().getOrDefault("threads", "?")
        + " threads";
  }

  private static String lengths(PerfReport report) {
    return report.promptTokens() + "+" + report.newTokens();
  }

  private Row row(String label, Values values) {
    List<Optional<Cell>> cells = new ArrayList<>();
    Cell base = values.cells[0];
    for (int column = 0; column < values.cells.length; column++) {
      Cell cell = values.cells[column];
      if (cell == null) {
        cells.add(Optional.empty());
        continue;
      }
      boolean comparable =
          column > 0 && base != null && base.value() != 0 && !values.apart.contains(column);
      if (column > 0 && base != null && values.apart.contains(column)) {
        notes.add(
            names.get(column) + ", " + label
                + ": other items than the baseline's, so no improvement is given");
      }
      cells.add(
          Optional.of(
              new Cell(
                  cell.value(), cell.interval(),
                  comparable
                      ? OptionalDouble.of(improvement(values.kind, base.value(), cell.value()))
                      : OptionalDouble.empty(),
                  values.certain.contains(column))));
    }
    return new Row(label, values.kind, cells);
  }

  private static double improvement(Kind kind, double base, double value) {
    return 100 * (kind.isLessBetter() ? base - value : value - base) / base;
  }
}

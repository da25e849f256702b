package ai.sluice.eval.compare;

import ai.sluice.eval.metrics.Interval;
import ai.sluice.eval.perf.PerfReport;
import ai.sluice.eval.run.EvalRun;
import ai.sluice.eval.run.RunManifest;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.TreeMap;

/**
 * Scores and costs of several models beside those of a baseline. Immutable.
 *
 * @param models their names, the baseline's first
 * @param rows metrics
 * @param notes what a reader must know to compare them, a sentence each
 */
public record EvalTable(List<String> models, List<Row> rows, List<String> notes) {
  /** What a row tells. */
  public enum Kind {
    /** A score of 0 to 1; more is better. */
    SCORE,
    /** Milliseconds; less is better. */
    MILLISECONDS,
    /** Tokens in a second; more is better. */
    TOKENS_PER_SECOND,
    /** Tokens for a joule; more is better. */
    TOKENS_PER_JOULE,
    /** Bytes; less is better. */
    BYTES;

    /** Whether the smaller of two values is the better one. */
    public boolean isLessBetter() {
      return this == MILLISECONDS || this == BYTES;
    }
  }

  /**
   * One metric.
   *
   * @param label its name
   * @param kind the values' unit
   * @param cells one a model; empty: that model has no such value
   */
  public record Row(String label, Kind kind, List<Optional<Cell>> cells) {
    /** Copies the list. */
    public Row {
      cells = List.copyOf(cells);
    }
  }

  /**
   * A value.
   *
   * @param value in the row's unit
   * @param interval of a score at 95 %
   * @param improvement on the baseline in percent of the baseline's value, above 0 if better: of
   *     times and bytes what is saved; empty for the baseline itself, where it has no value or
   *     0, and where both cannot be compared
   * @param certain whether the paired interval of a score's difference does not hold 0
   */
  public record Cell(
      double value, Optional<Interval> interval, OptionalDouble improvement, boolean certain) {}

  /** Copies the lists. */
  public EvalTable {
    models = List.copyOf(models);
    rows = List.copyOf(rows);
    notes = List.copyOf(notes);
  }

  /**
   * Builds the table.
   *
   * @param baseline the first column
   * @param runs the others; the baseline among them is not shown twice
   * @throws ai.sluice.api.InvalidRequestException if a run's perf.json is damaged
   */
  public static EvalTable of(EvalRun baseline, List<EvalRun> runs) {
    List<EvalRun> columns = new ArrayList<>(List.of(baseline));
    for (EvalRun run : runs) {
      if (columns.stream().noneMatch(known -> place(known).equals(place(run)))) {
        columns.add(run);
      }
    }
    return new TableRows(columns).table();
  }

  /**
   * Reads a column: a run, or a folder that has nothing but perf.json.
   *
   * @throws ai.sluice.api.InvalidRequestException if it is neither
   */
  public static EvalRun read(Path folder) {
    if (!Files.exists(folder.resolve(EvalRun.MANIFEST))) {
      Optional<PerfReport> perf = PerfReport.read(folder);
      if (perf.isPresent()) {
        RunManifest none = new RunManifest(Map.of(), perf.get().environment(), List.of());
        return new EvalRun(folder, none, new TreeMap<>(), 0);
      }
    }
    return EvalRun.read(folder);
  }

  private static Path place(EvalRun run) {
    return run.folder().toAbsolutePath().normalize();
  }
}

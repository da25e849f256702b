package ai.sluice.eval.compare;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.metrics.Interval;
import ai.sluice.eval.run.EvalRun;
import ai.sluice.eval.run.ItemRecord;
import ai.sluice.eval.run.RunManifest;
import ai.sluice.eval.run.TaskSummary;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;

/**
 * Scores over the runs below a folder. Immutable.
 *
 * @param folder that was searched
 * @param runs their folders, the oldest first
 * @param series one for each task, version, number of examples and metric, in the order in which
 *     they are met
 * @param notes what a reader must know, a sentence each
 */
public record RunHistory(Path folder, List<Path> runs, List<Series> series, List<String> notes) {
  /** How far below the folder runs may lie. */
  private static final int DEPTH = 4;

  /**
   * One score over time.
   *
   * @param task as it was asked for
   * @param version of its prompts and scores
   * @param shots worked examples before each question
   * @param metric as in the items: {@code acc,none}
   * @param points the oldest first
   */
  public record Series(
      String task, String version, int shots, String metric, List<Point> points) {
    /** Copies the list. */
    public Series {
      points = List.copyOf(points);
    }

    /** Task, examples and metric in few words. */
    public String label() {
      return task + " " + shots + "-shot "
          + metric.replaceFirst(",none$", "").replaceFirst("^exact_match,", "");
    }
  }

  /**
   * One run's score.
   *
   * @param run its folder
   * @param date when it was begun, as its manifest says it
   * @param items that are judged
   * @param complete whether every item is
   * @param score the mean
   * @param interval of the mean at 95 %
   */
  public record Point(
      Path run, String date, int items, boolean complete, double score, Interval interval) {}

  /** Copies the lists. */
  public RunHistory {
    runs = List.copyOf(runs);
    series = List.copyOf(series);
    notes = List.copyOf(notes);
  }

  private record Dated(Path folder, String date) {}

  /**
   * Reads all runs below a folder, one after another. Folders that cannot be read as runs are
   * noted and left out.
   *
   * @throws InvalidRequestException if there is none
   */
  public static RunHistory read(Path folder) {
    Set<String> notes = new LinkedHashSet<>();
    Map<List<Object>, List<Point>> series = new LinkedHashMap<>();
    List<Dated> dated = new ArrayList<>();
    Map<Path, Map<List<Object>, Point>> points = new LinkedHashMap<>();
    Set<String> models = new LinkedHashSet<>();
    for (Path each : folders(folder)) {
      try {
        EvalRun run = EvalRun.read(each);
        String date = date(run, notes);
        dated.add(new Dated(each, date));
        points.put(each, points(run, date));
        models.add(RunNames.model(run));
      } catch (InvalidRequestException e) {
        notes.add("left out: " + e.getMessage());
      }
    }
    if (dated.isEmpty()) {
      throw new InvalidRequestException(
          folder + ": no runs (expected: folders with " + EvalRun.MANIFEST + ", as eval --out makes"
              + " them)");
    }
    if (models.size() > 1) {
      notes.add("runs of " + models.size() + " models: " + String.join(", ", models));
    }
    dated.sort(Comparator.comparing(Dated::date).thenComparing(Dated::folder));
    for (Dated run : dated) {
      points
          .getOrDefault(run.folder(), Map.of())
          .forEach(
              (key, point) -> series.computeIfAbsent(key, k -> new ArrayList<>()).add(point));
    }
    List<Series> out = new ArrayList<>();
    series.forEach(
        (key, of) ->
            out.add(
                new Series(
                    (String) key.get(0), (String) key.get(1), (Integer) key.get(2),
                    (String) key.get(3), of)));
    return new RunHistory(
        folder, dated.stream().map(Dated::folder).toList(), out, List.copyOf(notes));
  }

  private static List<Path> folders(Path folder) {
    try (Stream<Path> files = Files.walk(folder, DEPTH)) {
      return files
          .filter(file -> file.getFileName().toString().equals(EvalRun.MANIFEST))
          .map(file -> file.resolveSibling(""))
          .sorted()
          .toList();
    } catch (IOException | UncheckedIOException e) {
      throw new InvalidRequestException(
          folder + ": cannot be read: " + e.getMessage() + " (expected: a folder of runs)", e);
    }
  }

  private static String date(EvalRun run, Set<String> notes) {
    String date = RunNames.date(run);
    if (!date.isEmpty()) {
      return date;
    }
    notes.add(run.folder() + ": no date in its manifest, the file's own is taken");
    try {
      return Files.getLastModifiedTime(run.folder().resolve(EvalRun.MANIFEST)).toString();
    } catch (IOException e) {
      throw new InvalidRequestException(run.folder() + ": cannot be read: " + e.getMessage(), e);
    }
  }

  private static Map<List<Object>, Point> points(EvalRun run, String date) {
    Map<List<Object>, Point> out = new LinkedHashMap<>();
    for (RunManifest.Task task : run.manifest().tasks()) {
      List<ItemRecord> judged =
          run.items(task.name()).stream()
              .filter(item -> !item.scores().metrics().isEmpty())
              .toList();
      if (judged.isEmpty()) {
        continue;
      }
      TaskSummary.of(task.name(), judged)
          .metrics()
          .forEach(
              (metric, estimate) ->
                  out.put(
                      List.of(task.name(), task.version(), task.shots(), metric),
                      new Point(
                          run.folder(), date, judged.size(), judged.size() == task.items(),
                          estimate.mean(), estimate.interval())));
    }
    return out;
  }

  /** The folder of the newest run. */
  public Path newest() {
    return runs.get(runs.size() - 1);
  }

  /**
   * The newest run against another one.
   *
   * @param baseline that run; empty: for each task the last run before that has it, with the same
   *     version and number of examples
   * @return one for each baseline; empty if there is none before
   * @throws InvalidRequestException as {@link RunComparison#of}
   */
  public List<RunComparison> compareNewest(
      Optional<Path> baseline, RunComparison.Settings settings) {
    EvalRun run = EvalRun.read(newest());
    if (baseline.isPresent()) {
      return List.of(RunComparison.of(EvalRun.read(baseline.get()), run, settings));
    }
    Map<Path, Set<String>> before = new LinkedHashMap<>();
    for (Series each : series) {
      int last = each.points().size() - 1;
      if (last > 0 && each.points().get(last).run().equals(newest())) {
        before
            .computeIfAbsent(each.points().get(last - 1).run(), path -> new LinkedHashSet<>())
            .add(each.task());
      }
    }
    List<RunComparison> out = new ArrayList<>();
    before.forEach(
        (path, tasks) ->
            out.add(RunComparison.of(EvalRun.read(path), run, settings, tasks::contains)));
    return out;
  }
}

package ai.sluice.cli;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.compare.HistoryWriter;
import ai.sluice.eval.compare.RunComparison;
import ai.sluice.eval.compare.RunHistory;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Shows scores over time. */
@Command(
    name = "history",
    sortOptions = false,
    description = {
      "Show the scores of all runs below a folder over time, with their 95 % intervals, and compare"
          + " the newest with the run before it (with --baseline: with that one), as eval compare"
          + " does.",
      "Runs of another version of a task or with another number of examples are a series of their"
          + " own."
    },
    footer = {
      "",
      "Exit code: 0 done, 1 worse under --fail-if-worse, 2 runs that cannot be compared.",
      "",
      "Examples:",
      "  sluice eval history runs",
      "  sluice eval history runs --baseline runs/release --fail-if-worse --out history.html"
    })
final class EvalHistoryCommand implements Callable<Integer> {
  private final Console console;

  @Parameters(index = "0", paramLabel = "DIR", description = "The folder below which runs lie.")
  Path folder = Path.of("");

  @Option(
      names = "--baseline",
      paramLabel = "RUN",
      description = {
        "What the newest run is compared with;",
        "default: for each task the last run before that has it."
      })
  @Nullable Path baseline;

  @Option(names = "--metric", paramLabel = "M", description = "Compare by one metric alone.")
  @Nullable String metric;

  @Option(
      names = "--clustered",
      description = "Draw the items of a subject together: a wider, safer interval.")
  boolean clustered;

  @Option(
      names = "--fail-if-worse",
      description = "Exit with 1 if an interval of the newest run lies wholly below 0.")
  boolean failIfWorse;

  @Option(names = "--out", paramLabel = "FILE", description = "Write a page there, as .html.")
  @Nullable Path out;

  EvalHistoryCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    PageFile file = out == null ? null : PageFile.of(out, ".html");
    RunHistory history = RunHistory.read(folder);
    int columns = TerminalWidth.columns();
    console.print(HistoryWriter.text(history, columns));
    if (file != null) {
      file.write(console, HistoryWriter.html(history));
    }
    boolean worse = false;
    for (RunComparison each : comparisons(history)) {
      worse |= each.isWorse();
      console.print("\n" + EvalCompareText.of(each, clustered, 0, columns));
    }
    return failIfWorse && worse ? Failures.FAILED : Failures.OK;
  }

  private List<RunComparison> comparisons(RunHistory history) {
    try {
      List<RunComparison> out =
          history.compareNewest(
              Optional.ofNullable(baseline),
              new RunComparison.Settings(Optional.ofNullable(metric), clustered));
      if (out.isEmpty()) {
        console.err().println(
            "nothing to compare with: " + history.newest() + " has no task that a run before has");
      }
      return out;
    } catch (InvalidRequestException e) {
      // Whoever only looks has seen what there is; whoever asked for a verdict must not miss it.
      if (failIfWorse || baseline != null || metric != null) {
        throw e;
      }
      console.err().println("not compared: " + e.getMessage());
      return List.of();
    }
  }
}

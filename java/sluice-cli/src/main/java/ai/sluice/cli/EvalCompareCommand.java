package ai.sluice.cli;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.compare.RunComparison;
import ai.sluice.eval.run.EvalRun;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Holds two runs against each other. */
@Command(
    name = "compare",
    sortOptions = false,
    description = {
      "Compare two runs item by item. The first run is the baseline: a difference above 0 is in"
          + " favour of the second.",
      "By task and metric: both scores, their difference with a 95 % interval (paired bootstrap,"
          + " 10,000 resamples, fixed seed), McNemar's exact test, and the items that flipped.",
      "Items that one run alone has are counted, not compared. Runs with other prompts or another"
          + " version of a task are refused."
    },
    footer = {
      "",
      "Exit code: 0 done, 1 worse under --fail-if-worse, 2 runs that cannot be compared.",
      "",
      "Examples:",
      "  sluice eval compare runs/float32 runs/bfloat16",
      "  sluice eval compare runs/main runs/new --metric acc --clustered --fail-if-worse"
    })
final class EvalCompareCommand implements Callable<Integer> {
  private final Console console;

  @Parameters(index = "0", paramLabel = "BASELINE", description = "The folder of the first run.")
  Path baseline = Path.of("");

  @Parameters(index = "1", paramLabel = "RUN", description = "The folder of the second run.")
  Path other = Path.of("");

  @Option(
      names = "--metric",
      paramLabel = "M",
      description = {
        "One metric alone: acc, or with its filter,",
        "exact_match,strict-match, or its filter alone."
      })
  @Nullable String metric;

  @Option(
      names = "--clustered",
      description = "Draw the items of a subject together: a wider, safer interval.")
  boolean clustered;

  @Option(
      names = "--items",
      paramLabel = "N",
      description = "Flipped items to show of each metric. Default: 10; with --json all.")
  @Nullable Integer items;

  @Option(
      names = "--fail-if-worse",
      description = "Exit with 1 if an interval lies wholly below 0.")
  boolean failIfWorse;

  @Option(names = "--json", description = "Print JSON instead of tables.")
  boolean json;

  EvalCompareCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    if (items != null && items < 0) {
      throw new InvalidRequestException("--items: " + items + " (expected: 0 or more)");
    }
    RunComparison comparison =
        RunComparison.of(
            read(console, baseline),
            read(console, other),
            new RunComparison.Settings(Optional.ofNullable(metric), clustered));
    if (json) {
      console.print(
          EvalCompareText.json(comparison, clustered, items == null ? Integer.MAX_VALUE : items));
    } else {
      int shown = items == null ? 10 : items;
      console.print(EvalCompareText.of(comparison, clustered, shown, TerminalWidth.columns()));
    }
    return failIfWorse && comparison.isWorse() ? Failures.FAILED : Failures.OK;
  }

  /** A run, with a word on standard error about what of it is missing. */
  static EvalRun read(Console console, Path folder) {
    EvalRun run = EvalRun.read(folder);
    if (run.damaged() > 0) {
      console.err().println(folder + ": " + run.damaged() + " damaged lines left out");
    }
    if (!run.isComplete()) {
      console.err().println(folder + ": not complete, " + run.items().size() + " items are done");
    }
    return run;
  }
}

package ai.sluice.cli;

import ai.sluice.eval.report.HtmlReport;
import ai.sluice.eval.run.EvalRun;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Shows a run as a page. */
@Command(
    name = "report",
    description = "Write a run as one page of HTML: scores, plots, every item; needs no network.",
    footer = {"", "Example:", "  sluice eval report eval-runs/model-mmlu"})
final class EvalReportCommand implements Callable<Integer> {
  private final Console console;

  @Parameters(index = "0", paramLabel = "RUN", description = "The folder of a run.")
  Path run = Path.of("");

  @Option(
      names = "--out",
      paramLabel = "FILE",
      description = "Where it is written; default: report.html in the folder of the run.")
  @Nullable Path out;

  EvalReportCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    EvalRun read = EvalRun.read(run);
    Path file = out == null ? run.resolve("report.html") : out;
    HtmlReport.write(read, file);
    console.print(EvalSummary.table(read));
    console.print(file + "\n");
    return Failures.OK;
  }
}

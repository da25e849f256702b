package ai.sluice.cli;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.compare.EvalTable;
import ai.sluice.eval.compare.TableWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Sets models beside each other. */
@Command(
    name = "table",
    sortOptions = false,
    description = {
      "Show the scores of several runs beside each other, with ms per token and other costs where"
          + " eval perf measured them, and the improvement on a baseline in percent.",
      "What a run does not have is shown as missing."
    },
    footer = {
      "",
      "Examples:",
      "  sluice eval table runs/* --baseline runs/float32",
      "  sluice eval table runs/a runs/b --baseline runs/a --out table.html"
    })
final class EvalTableCommand implements Callable<Integer> {
  private final Console console;

  @Parameters(arity = "1..*", paramLabel = "RUN", description = "Folders of runs, a column each.")
  List<Path> runs = new ArrayList<>();

  @Option(
      names = "--baseline",
      paramLabel = "RUN",
      required = true,
      description = "The run that the others are compared with; the first column.")
  Path baseline = Path.of("");

  @Option(
      names = "--out",
      paramLabel = "FILE",
      description = "Write the table there, as .md or .html, instead of showing it.")
  @Nullable Path out;

  EvalTableCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    PageFile file = out == null ? null : PageFile.of(out, ".md", ".html");
    EvalTable table =
        EvalTable.of(EvalTable.read(baseline), runs.stream().map(EvalTable::read).toList());
    if (table.rows().isEmpty()) {
      throw new InvalidRequestException(baseline + ": no scores (expected: a run with some)");
    }
    if (file == null) {
      console.print(TableWriter.text(table, TerminalWidth.columns()));
    } else {
      file.write(
          console, file.isHtml() ? TableWriter.html(table) : TableWriter.markdown(table));
    }
    return Failures.OK;
  }
}

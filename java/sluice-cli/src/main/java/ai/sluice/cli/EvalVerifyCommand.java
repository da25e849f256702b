package ai.sluice.cli;

import ai.sluice.eval.report.RunCheck;
import ai.sluice.eval.run.EvalRun;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

/** Derives a run's claims again. */
@Command(
    name = "verify",
    description = {
      "Derive all that a run claims from its items again, and say what disagrees.",
      "Scores are derived from answers, results.json from scores, samples from items."
    },
    footer = {"", "Exit code: 0 all agrees, 1 something does not, 2 no run."})
final class EvalVerifyCommand implements Callable<Integer> {
  private static final int SHOWN = 100;

  private final Console console;

  @Parameters(index = "0", paramLabel = "RUN", description = "The folder of a run.")
  String run = "";

  EvalVerifyCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    EvalRun read = EvalRun.read(Path.of(run));
    RunCheck.Result result = RunCheck.of(read);
    result.differences().stream().limit(SHOWN).forEach(line -> console.print(line + "\n"));
    if (result.differences().size() > SHOWN) {
      console.print("and " + (result.differences().size() - SHOWN) + " more\n");
    }
    console.print(
        result.items() + " items: " + result.rescored() + " scored again from their answers, "
            + result.notRescored() + " not (their scores come from programs or a task that is not"
            + " here)\n");
    console.print(EvalSummary.table(read));
    console.print(
        result.differences().isEmpty()
            ? "all agrees\n"
            : result.differences().size() + " differences\n");
    return result.differences().isEmpty() ? Failures.OK : Failures.FAILED;
  }
}

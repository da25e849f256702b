package ai.sluice.cli;

import ai.sluice.eval.report.RunOutputs;
import ai.sluice.eval.run.AnswerJudge;
import ai.sluice.eval.run.EvalRun;
import ai.sluice.eval.run.ItemRecord;
import ai.sluice.eval.sandbox.CodeRunner;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Judges what a run with {@code --predict-only} has left. */
@Command(
    name = "score",
    description = {
      "Run the programs that a run with --predict-only has left unjudged, in a sandbox.",
      "The run's folder is all that is needed: neither the model nor the data."
    },
    footer = {"", "Example:", "  sluice eval score runs/code"})
final class EvalScoreCommand implements Callable<Integer> {
  private final Console console;

  @Parameters(index = "0", paramLabel = "RUN", description = "The folder of the run.")
  Path run = Path.of("");

  @Option(
      names = "--workers",
      paramLabel = "N",
      description = "Programs that run at once; default: one for two cores.")
  int workers = Math.max(1, Runtime.getRuntime().availableProcessors() / 2);

  @Option(names = "--json", description = "Print JSON instead of a table.")
  boolean json;

  EvalScoreCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    EvalRun.read(run); // a wrong folder needs no sandbox
    try (CodeRunner sandbox = new EvalMachine(console).sandbox()) {
      List<ItemRecord> judged = AnswerJudge.judge(run, sandbox, workers);
      console.err().println(judged.size() + " programs judged");
    }
    EvalRun now = EvalRun.read(run);
    RunOutputs.write(now, item -> null);
    console.print(json ? EvalSummary.json(now) : EvalSummary.table(now));
    return Failures.OK;
  }
}

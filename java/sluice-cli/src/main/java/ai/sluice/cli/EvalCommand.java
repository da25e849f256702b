package ai.sluice.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** Evaluation. Today its prompts alone: running a task comes with the runner. */
@Command(
    name = "eval",
    synopsisSubcommandLabel = "COMMAND",
    description = "Evaluate models: MMLU, GSM8K, HumanEval.",
    footer = {"", "Example:", "  sluice eval prompts all --data DIR --out prompts.tsv"})
final class EvalCommand implements Callable<Integer> {
  private final Console console;

  @Spec CommandSpec spec;

  @Parameters(arity = "0..*", paramLabel = "TASK", description = "What to run.")
  List<String> tasks = new ArrayList<>();

  private EvalCommand(Console console) {
    this.console = console;
    this.spec = CommandSpec.create();
  }

  /** The command with those below it, each in a class of its own. */
  static CommandLine of(Console console) {
    return new CommandLine(new EvalCommand(console))
        .addSubcommand(new EvalPromptsCommand(console))
        .addSubcommand(new EvalFetchCommand(console));
  }

  @Override
  public Integer call() {
    console.mark("eval");
    throw new CommandLine.ParameterException(
        spec.commandLine(),
        "no command (expected: prompts or fetch; running tasks is not built yet)");
  }
}

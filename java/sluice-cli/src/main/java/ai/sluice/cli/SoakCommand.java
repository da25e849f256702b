package ai.sluice.cli;

import ai.sluice.api.EngineOptions;
import ai.sluice.api.Numerics;
import ai.sluice.cli.soak.Soak;
import ai.sluice.cli.soak.SoakFault;
import ai.sluice.cli.soak.SoakReport;
import ai.sluice.cli.soak.SoakSettings;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Runs mixed load and looks for leaks, stalls and wrong outputs. */
@Command(
    name = "soak",
    sortOptions = false,
    abbreviateSynopsis = true,
    description = {
      "Run mixed load for some time: shared prefixes, cancels, timeouts, stops, slow readers, a KV",
      "cache that is too small. Fails if an output differs from that of the same request alone, if",
      "the engine stands still, or if memory, threads, files or KV blocks leak."
    },
    footer = {
      "",
      "Examples:",
      "  sluice soak --seconds 1800",
      "  sluice soak -m tests/golden/fixtures/qwen3_moe --seconds 60 --concurrency 32"
    })
final class SoakCommand implements Callable<Integer> {
  private final Console console;

  @Option(names = "--seconds", paramLabel = "N", description = "How long. Default: 60.")
  Integer seconds = 60;

  @Option(
      names = "--concurrency",
      paramLabel = "N",
      description = "Requests that are open at once; half of them run. Default: 16.")
  Integer concurrency = 16;

  @Option(
      names = "--stall-seconds",
      paramLabel = "N",
      description = "How long an engine with work may run no step. Default: 30.")
  Integer stallSeconds = 30;

  @Option(
      names = "--status-seconds",
      paramLabel = "N",
      description = "Time between two lines of status. Default: 5.")
  Integer statusSeconds = 5;

  @Option(names = "--seed", paramLabel = "N", description = "Of everything random. Default: 1.")
  Long seed = 1L;

  @Option(names = "--fault", hidden = true, description = "Does something wrong on purpose.")
  SoakFault fault = SoakFault.NONE;

  @Mixin EngineArguments engineArguments = new EngineArguments();

  SoakCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    EngineOptions.Builder builder = engineArguments.options(console);
    if (!engineArguments.hasNumerics()) {
      builder.numerics(Numerics.BATCH_INVARIANT);
    }
    EngineOptions asked = builder.build();
    SoakSettings settings =
        new SoakSettings(
            seconds,
            concurrency,
            stallSeconds,
            statusSeconds,
            seed,
            asked.numerics() == Numerics.BATCH_INVARIANT,
            fault);
    SoakReport report =
        Soak.run(Soak.options(asked, settings), settings, line -> console.err().println(line));
    console.print(report.text());
    return report.passed() ? Failures.OK : Failures.FAILED;
  }
}

package ai.sluice.cli;

import ai.sluice.api.EngineOptions;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ModelInfo;
import ai.sluice.core.LoadBenchmark;
import ai.sluice.eval.perf.PerfReport;
import ai.sluice.eval.perf.PerfRun;
import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Measures what a model costs under load. */
@Command(
    name = "perf",
    sortOptions = false,
    abbreviateSynopsis = true,
    description = {
      "Measure a model under steady load: time to first token (TTFT), time per token after it"
          + " (TPOT), tokens per second, KV cache in use, and tokens per joule where the machine"
          + " tells its energy.",
      "So many requests are open all the time. As many come first to warm up and do not count."
          + " Prompts are random tokens; the prefix cache is off.",
      "With --out the numbers lie beside a run's scores, where eval table shows them."
    },
    footer = {
      "",
      "Examples:",
      "  sluice eval perf -m model.gguf",
      "  sluice eval perf -m model.gguf --concurrency 1,32 --out runs/first",
      "  sluice eval perf --shape deepseek-v2-lite --backend cuda --concurrency 1,64"
    })
final class EvalPerfCommand implements Callable<Integer> {
  private static final String ROW = "%7s %8s %8s %8s %7s %7s %8s %7s %8s%n";

  private final Console console;

  @Mixin EngineArguments engineArguments = new EngineArguments();

  @Option(
      names = "--shape",
      paramLabel = "SHAPE",
      description = "A model of these sizes with random weights, as in bench.")
  @Nullable String shape;

  @Option(
      names = {"-c", "--concurrency"},
      paramLabel = "N",
      split = ",",
      description = "Requests open at once, a level each. Default: 1,4,16.")
  List<Integer> concurrency = List.of(1, 4, 16);

  @Option(
      names = "--prompt-tokens",
      paramLabel = "N",
      description = "Tokens of each prompt. Default: 512.")
  Integer promptTokens = 512;

  @Option(
      names = "--new-tokens",
      paramLabel = "N",
      description = "Tokens of each answer, at least 2. Default: 128.")
  Integer newTokens = 128;

  @Option(
      names = "--requests",
      paramLabel = "N",
      description = "Measured requests of a level. Default: twice those open, at least 16.")
  @Nullable Integer requests;

  @Option(
      names = "--out",
      paramLabel = "DIR",
      description = "Write perf.json there: the folder of a run of this model, or a new one.")
  @Nullable Path out;

  @Option(names = "--json", description = "Print JSON instead of a table.")
  boolean json;

  EvalPerfCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    LoadBenchmark.Plan plan =
        new LoadBenchmark.Plan(
            concurrency, promptTokens, newTokens, Optional.ofNullable(requests));
    if (shape != null && engineArguments.model != null) {
      throw new InvalidRequestException(
          "--shape: " + shape + " beside " + engineArguments.model
              + " (expected: a shape or a model)");
    }
    EngineOptions options =
        shape == null
            ? engineArguments.options(console).build()
            : engineArguments.runArguments.builder().model(Path.of(shape)).build();
    PerfReport report =
        PerfRun.run(options, Optional.ofNullable(shape), plan, new Told(plan));
    console.print(json ? report.json() : text(report));
    write(report);
    return Failures.OK;
  }

  private void write(PerfReport report) {
    if (out == null) {
      return;
    }
    try {
      report.write(out);
    } catch (IOException e) {
      throw new CommandException("--out " + out + ": not written: " + e, e);
    }
    console.err().println("written: " + out.resolve(PerfReport.FILE));
  }

  /** What is told meanwhile. */
  private final class Told implements LoadBenchmark.Listener {
    private final LoadBenchmark.Plan plan;

    Told(LoadBenchmark.Plan plan) {
      this.plan = plan;
    }

    @Override
    public void opened(ModelInfo model) {
      if (out != null) {
        PerfRun.requireSame(out, shape == null ? model.path().toString() : shape, model);
      }
      console.mark("model open");
    }

    @Override
    public void levelBegins(int level) {
      console.err().println(
          level + " at once: " + level + " requests to warm up, " + plan.requestsAt(level)
              + " measured");
    }
  }

  static String text(PerfReport report) {
    StringBuilder out = new StringBuilder();
    String model = report.environment().getOrDefault("model", "");
    out.append(model.substring(model.lastIndexOf('/') + 1)).append(", ");
    out.append(report.environment().getOrDefault("backend", "").toLowerCase(Locale.ROOT));
    out.append(' ');
    out.append(report.environment().getOrDefault("dtype", "").toLowerCase(Locale.ROOT));
    out.append(": ").append(report.promptTokens()).append(" prompt tokens, ");
    out.append(report.newTokens()).append(" new tokens\n\n");
    out.append(
        String.format(
            Locale.ROOT, ROW, "", "", "TTFT ms", "", "TPOT ms", "", "", "KV", "tokens"));
    out.append(
        String.format(
            Locale.ROOT, ROW, "at once", "requests", "median", "p99", "median", "p99", "tokens/s",
            "MB", "/ joule"));
    Set<String> energy = new LinkedHashSet<>();
    for (PerfReport.Level level : report.levels()) {
      out.append(
          String.format(
              Locale.ROOT, ROW, level.concurrency(), level.requests(),
              number(level.firstToken().median()), number(level.firstToken().p99()),
              number(level.perToken().median()), number(level.perToken().p99()),
              number(level.tokensPerSecond()),
              level.kvBytes().isPresent() ? number(level.kvBytes().getAsLong() / 1e6) : "-",
              level.tokensPerJoule().isPresent()
                  ? number(level.tokensPerJoule().getAsDouble())
                  : "-"));
      energy.add(
          level.energy().joules().isPresent()
              ? level.energy().source()
              : "not told: " + level.energy().reason());
    }
    out.append("\nenergy: ").append(String.join("; ", energy)).append('\n');
    return out.toString();
  }

  private static String number(double value) {
    String format = value >= 1000 ? "%.0f" : value >= 100 ? "%.1f" : value >= 1 ? "%.2f" : "%.3g";
    return String.format(Locale.ROOT, format, value);
  }
}

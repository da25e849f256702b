package ai.sluice.cli;

import ai.sluice.api.EngineOptions;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ModelInfo;
import ai.sluice.core.Benchmark;
import ai.sluice.core.BenchmarkReport;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Measures a model's speed. */
@Command(
    name = "bench",
    sortOptions = false,
    abbreviateSynopsis = true,
    description = {
      "Measure prefill (pp) and decoding (tg) in tokens per second, as llama-bench does:",
      "random tokens, a run to warm up that does not count, the tests in turn."
    },
    footer = {
      "",
      "Examples:",
      "  sluice bench SmolLM2-135M-Instruct",
      "  sluice bench model.gguf -p 128,512 -n 64 -r 3 --threads 2 --json",
      "  sluice bench -p 0 -n 128 -c 1,16",
      "  sluice bench --shape deepseek-v2-lite --backend cuda -p 4096 -n 64 -d 1024 -c 1,64"
    })
final class BenchCommand implements Callable<Integer> {
  private final Console console;

  @Parameters(
      index = "0",
      arity = "0..1",
      paramLabel = "MODEL",
      description = "A folder, a .gguf file or a name; default: the default model.")
  @Nullable String model;

  @Option(
      names = "--shape",
      paramLabel = "SHAPE",
      completionCandidates = Shapes.class,
      description = {
        "Measure a model of these sizes with random weights, without a checkpoint:",
        "${COMPLETION-CANDIDATES},",
        "or those of a folder's config.json."
      })
  @Nullable String shape;

  @Option(
      names = {"-p", "--prompt-tokens"},
      split = ",",
      paramLabel = "N",
      description = "Lengths of prompts, with commas between; 0: none. Default: 512.")
  List<Integer> promptTokens = List.of(512);

  @Option(
      names = {"-n", "--new-tokens"},
      split = ",",
      paramLabel = "N",
      description = "Numbers of tokens to generate; 0: none. Default: 128.")
  List<Integer> newTokens = List.of(128);

  @Option(
      names = {"-d", "--depth"},
      split = ",",
      paramLabel = "N",
      description = {
        "Lengths of the prompts behind which tokens are generated; their own time does not count.",
        "Default: 0, from an empty context."
      })
  List<Integer> depths = List.of(0);

  @Option(
      names = {"-c", "--concurrency"},
      split = ",",
      paramLabel = "N",
      description = "Numbers of requests that generate at once. Default: 1.")
  List<Integer> concurrency = List.of(1);

  @Option(
      names = {"-r", "--repetitions"},
      paramLabel = "N",
      description = "Runs of each test. Default: 5.")
  Integer repetitions = 5;

  @Mixin RunArguments runArguments = new RunArguments();

  @Option(names = "--expert-load", description = "Also print how evenly experts were used.")
  boolean expertLoad;

  @Option(names = "--json", description = "Print JSON instead of a table.")
  boolean json;

  /** The shapes there are. */
  static final class Shapes implements Iterable<String> {
    @Override
    public Iterator<String> iterator() {
      return Benchmark.shapes().iterator();
    }
  }

  BenchCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    EngineOptions.Builder builder = runArguments.builder();
    List<Integer> prompts = tests("-p", promptTokens);
    List<Integer> news = tests("-n", newTokens);
    if (prompts.isEmpty() && news.isEmpty()) {
      throw new InvalidRequestException("-p, -n: both 0 (expected: at least one test)");
    }
    if (repetitions < 1) {
      throw new InvalidRequestException("-r: " + repetitions + " (expected: 1 or more)");
    }
    for (int n : concurrency) {
      if (n < 1) {
        throw new InvalidRequestException("-c: " + n + " (expected: 1 or more)");
      }
    }
    for (int n : depths) {
      if (n < 0) {
        throw new InvalidRequestException("-d: " + n + " (expected: 0 or more)");
      }
    }
    Benchmark.Plan plan = new Benchmark.Plan(prompts, news, depths, concurrency, repetitions);
    builder.reportExpertCounts(expertLoad);
    BenchmarkReport report;
    if (shape != null) {
      if (model != null) {
        throw new InvalidRequestException(
            "--shape: " + shape + " beside " + model + " (expected: a shape or a model)");
      }
      report = Benchmark.runShape(builder.model(Path.of(shape)).build(), shape, plan);
    } else {
      ModelStore store = new ModelStore(console);
      Path path = model == null ? store.defaultModel() : store.resolve(model);
      report = Benchmark.run(builder.model(path).build(), plan);
    }
    console.print(json ? json(report) + "\n" : table(report));
    return Failures.OK;
  }

  /** The numbers of tokens without the zeros, which switch a test off. */
  private static List<Integer> tests(String option, List<Integer> tokens) {
    for (int n : tokens) {
      if (n < 0) {
        throw new InvalidRequestException(option + ": " + n + " (expected: 0 or more)");
      }
    }
    return tokens.stream().filter(n -> n > 0).toList();
  }

  static String table(BenchmarkReport report) {
    ModelInfo model = report.model();
    StringBuilder table = new StringBuilder();
    table.append("| model | params | weights | backend | dtype | threads | test | t/s | ms/step |\n");
    table.append("| --- | ---: | ---: | --- | --- | ---: | --- | ---: | ---: |\n");
    for (BenchmarkReport.Result result : report.results()) {
      table.append(
          String.format(
              Locale.ROOT, "| %s | %.2f M | %s | %s | %s | %d | %s | %.2f ± %.2f | %s |%n",
              ModelStore.nameOf(model.path().toAbsolutePath()), model.numParameters() / 1e6,
              Sizes.text(model.weightBytes()), backend(model), dtype(model), model.threads(),
              result.name(), result.tokensPerSecond(), result.standardDeviation(),
              millis(result)));
    }
    table.append("\nweights: ").append(report.load()).append('\n');
    report
        .expertLoad()
        .ifPresent(load -> table.append('\n').append(ExpertLoadText.table(load)));
    return table.toString();
  }

  /** Steps of a prefill are chunks of a prompt: their time says nothing by itself. */
  private static String millis(BenchmarkReport.Result result) {
    return result.decodes() ? String.format(Locale.ROOT, "%.3f", result.millisPerStep()) : "";
  }

  private static String backend(ModelInfo model) {
    return model.backend().name().toLowerCase(Locale.ROOT);
  }

  private static String dtype(ModelInfo model) {
    return model.dtype().name().toLowerCase(Locale.ROOT);
  }

  static String json(BenchmarkReport report) {
    ModelInfo model = report.model();
    StringWriter text = new StringWriter();
    try (JsonGenerator json = new JsonFactory().createGenerator(text)) {
      json.writeStartObject();
      json.writeStringField("version", RootCommand.Version.version());
      json.writeStringField("model", model.path().toString());
      json.writeStringField("architecture", model.architecture());
      json.writeNumberField("parameters", model.numParameters());
      json.writeNumberField("weight_bytes", model.weightBytes());
      json.writeStringField("backend", backend(model));
      json.writeStringField("dtype", dtype(model));
      json.writeNumberField("threads", model.threads());
      json.writeObjectFieldStart("load");
      json.writeNumberField("file_bytes", report.load().fileBytes());
      json.writeNumberField("seconds", report.load().micros() / 1e6);
      json.writeNumberField("gigabytes_per_second", report.load().gigabytesPerSecond());
      json.writeEndObject();
      json.writeArrayFieldStart("results");
      for (BenchmarkReport.Result result : report.results()) {
        json.writeStartObject();
        json.writeStringField("test", result.name());
        json.writeNumberField("concurrency", result.concurrency());
        json.writeNumberField("tokens", result.tokens());
        json.writeNumberField("repetitions", result.repetitions());
        json.writeNumberField("tokens_per_second", result.tokensPerSecond());
        json.writeNumberField("standard_deviation", result.standardDeviation());
        if (result.decodes()) {
          json.writeNumberField("milliseconds_per_step", result.millisPerStep());
        }
        json.writeArrayFieldStart("samples");
        for (double sample : result.samples()) {
          json.writeNumber(sample);
        }
        json.writeEndArray();
        json.writeEndObject();
      }
      json.writeEndArray();
      if (report.expertLoad().isPresent()) {
        ExpertLoadText.write(json, report.expertLoad().get());
      }
      json.writeEndObject();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return text.toString();
  }
}

package ai.sluice.eval.perf;

import ai.sluice.api.EngineOptions;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ModelInfo;
import ai.sluice.core.LoadBenchmark;
import ai.sluice.eval.metrics.Statistics;
import ai.sluice.eval.run.EvalRun;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;

/** Measures what a model costs under load, with its energy. Used once. */
public final class PerfRun implements LoadBenchmark.Listener {
  private final LoadBenchmark.Listener told;
  private final List<PerfReport.Energy> energies = new ArrayList<>();
  private final int devices;
  private EnergyMeter meter = EnergyMeter.none("the model is not open");

  private PerfRun(LoadBenchmark.Listener told, int devices) {
    this.told = told;
    this.devices = devices;
  }

  /**
   * Opens a model and measures it.
   *
   * @param options the model, and how to run it; see {@link LoadBenchmark#run}
   * @param shape of a model with random weights instead; empty: the model of the options
   * @param plan what to measure
   * @param listener is told how far it is
   * @throws ai.sluice.api.SluiceException as {@link LoadBenchmark#run}
   */
  public static PerfReport run(
      EngineOptions options,
      Optional<String> shape,
      LoadBenchmark.Plan plan,
      LoadBenchmark.Listener listener) {
    PerfRun run = new PerfRun(listener, options.tensorParallelSize());
    try {
      LoadBenchmark.Report report =
          shape.isPresent()
              ? LoadBenchmark.runShape(options, shape.get(), plan, run)
              : LoadBenchmark.run(options, plan, run);
      List<PerfReport.Level> levels = new ArrayList<>();
      for (int i = 0; i < report.levels().size(); i++) {
        levels.add(level(report.levels().get(i), report.model(), run.energies.get(i)));
      }
      return new PerfReport(
          environment(report.model(), shape), plan.promptTokens(), plan.newTokens(), levels);
    } finally {
      run.meter.close();
    }
  }

  private static Map<String, String> environment(ModelInfo model, Optional<String> shape) {
    Map<String, String> out = new LinkedHashMap<>();
    out.put("date", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
    out.put("model", shape.orElse(model.path().toString()));
    out.put("architecture", model.architecture());
    out.put("parameters", String.valueOf(model.numParameters()));
    out.put("backend", model.backend().toString());
    out.put("dtype", model.dtype().toString());
    out.put("numerics", model.numerics().toString());
    out.put("threads", String.valueOf(model.threads()));
    out.put("weight_bytes", String.valueOf(model.weightBytes()));
    out.put("kv_cache_bytes", String.valueOf(model.kvCacheBytes()));
    for (String name : List.of("java.runtime.version", "os.version")) {
      out.put(name, String.valueOf(System.getProperty(name)));
    }
    return out;
  }

  private static PerfReport.Level level(
      LoadBenchmark.Level level, ModelInfo model, PerfReport.Energy energy) {
    // Blocks of several kinds differ in size; then this is their mean's.
    double blockBytes = (double) model.kvCacheBytes() / Math.max(1, model.kvBlocks());
    return new PerfReport.Level(
        level.concurrency(), level.firstTokenMillis().size(), level.warmUp(), level.seconds(),
        latency(level.firstTokenMillis()), latency(level.perTokenMillis()),
        level.tokens() / level.seconds(),
        level.kvBlocks() == 0
            ? OptionalLong.empty()
            : OptionalLong.of(Math.round(level.kvBlocks() * blockBytes)),
        energy);
  }

  private static PerfReport.Latency latency(List<Double> millis) {
    double[] values = millis.stream().mapToDouble(Double::doubleValue).toArray();
    return new PerfReport.Latency(
        Statistics.quantile(0.5, values), Statistics.quantile(0.99, values));
  }

  /**
   * Requires that a folder is free for the speeds of a model: it holds no run, or one of the same
   * model, by its file's name and size, in the same arithmetic on the same kind of device.
   *
   * @param name the model's path, or its shape
   * @throws InvalidRequestException naming what differs
   */
  public static void requireSame(Path folder, String name, ModelInfo model) {
    if (!Files.exists(folder.resolve(EvalRun.MANIFEST))) {
      return;
    }
    EvalRun run = EvalRun.read(folder);
    Map<String, String> there = new LinkedHashMap<>(run.manifest().environment());
    there.putAll(run.manifest().identity());
    Map<String, String> here =
        Map.of(
            "model", name,
            "parameters", String.valueOf(model.numParameters()),
            "dtype", model.dtype().toString(),
            "backend", model.backend().toString());
    for (String field : List.of("model", "parameters", "dtype", "backend")) {
      String value = last(here.getOrDefault(field, ""));
      String expected = last(there.getOrDefault(field, value));
      if (!expected.equals(value)) {
        throw new InvalidRequestException(
            field + ": " + value + " (expected: " + expected + ", that of the run in " + folder
                + "; remedy: another --out)");
      }
    }
  }

  private static String last(String path) {
    return path.substring(path.lastIndexOf('/') + 1);
  }

  @Override
  public void opened(ModelInfo model) {
    told.opened(model);
    meter = EnergyMeter.of(model.backend(), devices);
  }

  @Override
  public void levelBegins(int concurrency) {
    told.levelBegins(concurrency);
  }

  @Override
  public void measuringBegins() {
    told.measuringBegins();
    meter.begin();
  }

  @Override
  public void measuringEnds() {
    energies.add(meter.end());
    told.measuringEnds();
  }
}

package ai.sluice.micrometer;

import ai.sluice.api.EngineMetrics;
import ai.sluice.api.FinishReason;
import ai.sluice.api.Histogram;
import ai.sluice.core.Engine;
import io.micrometer.core.instrument.FunctionCounter;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Tags;
import io.micrometer.core.instrument.binder.MeterBinder;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import java.util.function.ToDoubleFunction;

/**
 * The metrics of an engine, under the names that dashboards of other engines know, with {@code
 * sluice:} before them and the labels {@code model_name} and {@code engine}. docs/observability.md
 * lists them.
 *
 * <p>Borrows the engine: it is never closed here, and may be closed before its metrics are read,
 * which then tell its last state. Nothing runs on the engine's threads. Gauges and counters are read
 * when the registry asks; histograms are brought up to date every second by a daemon thread, until
 * {@link #close}. Thread-safe.
 */
public final class SluiceMetrics implements MeterBinder, AutoCloseable {
  private static final String PREFIX = "sluice:";
  private static final AtomicInteger NUMBER = new AtomicInteger();

  private final Engine engine;
  private final List<Snapshots> bound = new CopyOnWriteArrayList<>();
  private volatile boolean closed;
  private final Tags tags;

  private SluiceMetrics(Engine engine, String modelName, String engineName) {
    this.engine = engine;
    tags = Tags.of("model_name", modelName, "engine", engineName);
  }

  /** Metrics of the only engine of a process, named after its checkpoint's file or folder. */
  public static SluiceMetrics of(Engine engine) {
    Path path = engine.modelInfo().path().toAbsolutePath().normalize();
    Path name = path.getFileName();
    return of(engine, name == null ? path.toString() : name.toString(), "0");
  }

  /**
   * Metrics of an engine.
   *
   * @param modelName the label {@code model_name}
   * @param engineName the label {@code engine}, different for each engine of a registry
   */
  public static SluiceMetrics of(Engine engine, String modelName, String engineName) {
    return new SluiceMetrics(
        Objects.requireNonNull(engine, "engine"),
        Objects.requireNonNull(modelName, "modelName"),
        Objects.requireNonNull(engineName, "engineName"));
  }

  /**
   * Registers the meters. A registry may hold those of several engines, and an engine's may be in
   * several registries, each once.
   *
   * @throws IllegalStateException if this is closed
   */
  @Override
  public void bindTo(MeterRegistry registry) {
    if (closed) {
      throw new IllegalStateException("metrics: closed (expected: bind before close)");
    }
    Snapshots snapshots = new Snapshots(engine);
    gauge(registry, snapshots, "num_requests_running", "Sequences being computed",
        EngineMetrics::running);
    gauge(registry, snapshots, "num_requests_waiting", "Requests in the queue",
        EngineMetrics::waiting);
    gauge(registry, snapshots, "kv_cache_usage_perc", "Share of the KV blocks in use, 0 to 1",
        EngineMetrics::kvUsage);
    counter(registry, snapshots, "prefix_cache_queries",
        "Prompt tokens looked for in the prefix cache", EngineMetrics::prefixQueryTokens);
    counter(registry, snapshots, "prefix_cache_hits", "Prompt tokens found in the prefix cache",
        EngineMetrics::prefixHitTokens);
    counter(registry, snapshots, "prefix_cache_evictions", "Blocks that the prefix cache gave up",
        EngineMetrics::prefixEvictions);
    counter(registry, snapshots, "num_preemptions", "Times that a sequence gave up its blocks",
        EngineMetrics::preemptions);
    counter(registry, snapshots, "prompt_tokens", "Prompt tokens computed",
        EngineMetrics::promptTokens);
    counter(registry, snapshots, "generation_tokens", "Tokens generated",
        EngineMetrics::newTokens);
    counter(registry, snapshots, "spec_decode_num_draft_tokens", "Tokens proposed as drafts",
        metrics -> metrics.drafts().proposed());
    counter(registry, snapshots, "spec_decode_num_accepted_tokens",
        "Draft tokens that turned out right", metrics -> metrics.drafts().accepted());
    counter(registry, snapshots, "num_requests_rejected", "Requests refused by a full queue",
        metrics -> metrics.finished().getOrDefault(FinishReason.REJECTED, 0L));
    for (FinishReason reason : FinishReason.values()) {
      if (reason != FinishReason.REJECTED) {
        finished(registry, snapshots, reason);
      }
    }
    histograms(registry, snapshots);
    bound.add(snapshots);
    snapshots.start("sluice-metrics-" + NUMBER.incrementAndGet());
  }

  /**
   * Brings the histograms up to date once more and leaves them so. What is registered stays; gauges
   * and counters go on. Harmless when repeated.
   */
  @Override
  public void close() {
    closed = true;
    bound.forEach(Snapshots::stop);
  }

  private void gauge(
      MeterRegistry registry,
      Snapshots snapshots,
      String name,
      String description,
      ToDoubleFunction<EngineMetrics> value) {
    Gauge.builder(PREFIX + name, snapshots, now -> value.applyAsDouble(now.last()))
        .description(description)
        .tags(tags)
        .strongReference(true)
        .register(registry);
  }

  private void counter(
      MeterRegistry registry,
      Snapshots snapshots,
      String name,
      String description,
      ToDoubleFunction<EngineMetrics> value) {
    FunctionCounter.builder(PREFIX + name, snapshots, now -> value.applyAsDouble(now.last()))
        .description(description)
        .tags(tags)
        .register(registry);
  }

  private void finished(MeterRegistry registry, Snapshots snapshots, FinishReason reason) {
    FunctionCounter.builder(
            PREFIX + "request_success",
            snapshots,
            now -> now.last().finished().getOrDefault(reason, 0L))
        .description("Requests that ended, by reason")
        .tags(tags.and("finished_reason", label(reason)))
        .register(registry);
  }

  private static String label(FinishReason reason) {
    return switch (reason) {
      case STOP -> "stop";
      case LENGTH -> "length";
      case TOOL_CALLS -> "tool_calls";
      case CANCELLED -> "abort";
      case TIMEOUT -> "timeout";
      case ERROR -> "error";
      case REJECTED -> "rejected";
    };
  }

  private void histograms(MeterRegistry registry, Snapshots snapshots) {
    seconds(registry, snapshots, "time_to_first_token_seconds",
        "From submit to the first new token", m -> m.latency().timeToFirstToken());
    seconds(registry, snapshots, "inter_token_latency_seconds",
        "From one new token to the next", m -> m.latency().interToken());
    seconds(registry, snapshots, "e2e_request_latency_seconds",
        "From submit to the end", m -> m.latency().endToEnd());
    seconds(registry, snapshots, "request_queue_time_seconds",
        "From submit to the first step", m -> m.latency().queue());
    seconds(registry, snapshots, "request_prefill_time_seconds",
        "From the first step to the first new token", m -> m.latency().prefill());
    seconds(registry, snapshots, "request_decode_time_seconds",
        "From the first to the last new token", m -> m.latency().decode());
    seconds(registry, snapshots, "request_inference_time_seconds",
        "From the first step to the last new token", m -> m.latency().inference());
    tokens(registry, snapshots, "request_prompt_tokens",
        "Prompt tokens of a request", m -> m.sizes().promptTokens());
    tokens(registry, snapshots, "request_generation_tokens",
        "New tokens of a request", m -> m.sizes().newTokens());
    tokens(registry, snapshots, "iteration_tokens",
        "Tokens computed in a step", m -> m.sizes().stepTokens());
  }

  private void seconds(
      MeterRegistry registry,
      Snapshots snapshots,
      String name,
      String description,
      Function<EngineMetrics, Histogram> value) {
    snapshots.replay(
        HistogramReplay.ofSeconds(
            registry, PREFIX + name, description, tags, value.apply(snapshots.last())),
        value);
  }

  private void tokens(
      MeterRegistry registry,
      Snapshots snapshots,
      String name,
      String description,
      Function<EngineMetrics, Histogram> value) {
    snapshots.replay(
        HistogramReplay.ofNumbers(
            registry, PREFIX + name, description, tags, value.apply(snapshots.last())),
        value);
  }
}

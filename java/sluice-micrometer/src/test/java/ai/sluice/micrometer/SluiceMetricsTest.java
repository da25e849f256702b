package ai.sluice.micrometer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.EngineMetrics;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.Histogram;
import ai.sluice.core.Engine;
import io.micrometer.prometheusmetrics.PrometheusConfig;
import io.micrometer.prometheusmetrics.PrometheusMeterRegistry;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The exposition text that a Prometheus server reads, of real engines. */
@Timeout(120)
class SluiceMetricsTest {
  private final PrometheusMeterRegistry registry =
      new PrometheusMeterRegistry(PrometheusConfig.DEFAULT);

  @AfterEach
  void close() {
    registry.close();
  }

  private static Path golden(String name) {
    for (Path at = Path.of("").toAbsolutePath(); at != null; at = at.getParent()) {
      Path candidate = at.resolve("tests/golden").resolve(name);
      if (Files.exists(candidate)) {
        return candidate;
      }
    }
    throw new IllegalStateException("tests/golden/" + name + " not found");
  }

  private static Engine open() {
    return Engine.open(
        EngineOptions.builder()
            .model(golden("fixtures/llama"))
            .maxSequences(2)
            .blockSize(8)
            .build());
  }

  private static GenerationRequest request(int promptTokens, int newTokens) {
    return GenerationRequest.builder()
        .promptTokens(IntStream.range(3, 3 + promptTokens).toArray())
        .maxNewTokens(newTokens)
        .ignoreEos(true)
        .seed(1)
        .build();
  }

  /** The lines that a histogram has, but for its sum. */
  private static List<String> lines(String name, String labels, Histogram histogram) {
    List<String> lines = new ArrayList<>();
    lines.add("# TYPE sluice:" + name + " histogram");
    for (int i = 0; i < histogram.bounds().size(); i++) {
      lines.add(
          "sluice:" + name + "_bucket{" + labels + ",le=\"" + histogram.bounds().get(i) + "\"} "
              + histogram.atMost(i));
    }
    lines.add("sluice:" + name + "_bucket{" + labels + ",le=\"+Inf\"} " + histogram.count());
    lines.add("sluice:" + name + "_count{" + labels + "} " + histogram.count());
    return lines;
  }

  private static List<String> counter(String name, String labels, double value) {
    return List.of(
        "# TYPE sluice:" + name + "_total counter",
        "sluice:" + name + "_total{" + labels + "} " + value);
  }

  private static List<String> gauge(String name, String labels, double value) {
    return List.of(
        "# TYPE sluice:" + name + " gauge", "sluice:" + name + "{" + labels + "} " + value);
  }

  private static Map<String, Histogram> histograms(EngineMetrics metrics) {
    return Map.of(
        "time_to_first_token_seconds", metrics.latency().timeToFirstToken(),
        "inter_token_latency_seconds", metrics.latency().interToken(),
        "e2e_request_latency_seconds", metrics.latency().endToEnd(),
        "request_queue_time_seconds", metrics.latency().queue(),
        "request_prefill_time_seconds", metrics.latency().prefill(),
        "request_decode_time_seconds", metrics.latency().decode(),
        "request_inference_time_seconds", metrics.latency().inference(),
        "request_prompt_tokens", metrics.sizes().promptTokens(),
        "request_generation_tokens", metrics.sizes().newTokens(),
        "iteration_tokens", metrics.sizes().stepTokens());
  }

  /** What is registered, without help texts, sums and the maxima that Micrometer adds. */
  private static List<String> expected(String labels, EngineMetrics metrics) {
    List<String> lines = new ArrayList<>();
    lines.addAll(gauge("num_requests_running", labels, 0));
    lines.addAll(gauge("num_requests_waiting", labels, 0));
    lines.addAll(gauge("kv_cache_usage_perc", labels, 0));
    lines.addAll(counter("prefix_cache_queries", labels, metrics.prefixQueryTokens()));
    lines.addAll(counter("prefix_cache_hits", labels, metrics.prefixHitTokens()));
    lines.addAll(counter("prefix_cache_evictions", labels, metrics.prefixEvictions()));
    lines.addAll(counter("num_preemptions", labels, metrics.preemptions()));
    lines.addAll(counter("prompt_tokens", labels, metrics.promptTokens()));
    lines.addAll(counter("generation_tokens", labels, metrics.newTokens()));
    lines.addAll(counter("spec_decode_num_draft_tokens", labels, metrics.drafts().proposed()));
    lines.addAll(counter("spec_decode_num_accepted_tokens", labels, metrics.drafts().accepted()));
    lines.addAll(counter("num_requests_rejected", labels, 0));
    lines.add("# TYPE sluice:request_success_total counter");
    for (String reason : List.of("abort", "error", "length", "stop", "timeout", "tool_calls")) {
      String[] parts = labels.split(",");
      lines.add(
          "sluice:request_success_total{" + parts[0] + ",finished_reason=\"" + reason + "\","
              + parts[1] + "} " + ("length".equals(reason) ? 3.0 : 0.0));
    }
    histograms(metrics).forEach((name, value) -> lines.addAll(lines(name, labels, value)));
    return lines;
  }

  private List<String> scraped() {
    return registry.scrape().lines()
        .filter(line -> !line.startsWith("# HELP"))
        .filter(line -> !line.contains("_max") && !line.contains("_sum"))
        .toList();
  }

  @Test
  void theTextHasEveryMetricWithItsNameLabelsAndBuckets() {
    EngineMetrics metrics;
    try (Engine engine = open();
        SluiceMetrics bound = SluiceMetrics.of(engine, "a model", "7")) {
      bound.bindTo(registry);
      engine.generate(request(20, 7));
      engine.generate(request(20, 2));
      engine.generate(request(4, 1));
      metrics = engine.metrics();
    }
    assertEquals(3, metrics.finished().get(FinishReason.LENGTH));
    List<String> wanted = expected("engine=\"7\",model_name=\"a model\"", metrics);
    List<String> found = scraped();
    assertEquals(new TreeSet<>(wanted), new TreeSet<>(found));
    assertEquals(wanted.size(), found.size());
    histograms(metrics)
        .forEach(
            (name, value) ->
                assertEquals(
                    value.sum(),
                    name.endsWith("_seconds")
                        ? registry.get("sluice:" + name).timer().totalTime(TimeUnit.SECONDS)
                        : registry.get("sluice:" + name).summary().totalAmount(),
                    1e-6,
                    name));
  }

  @Test
  void metricsOutliveTheEngineAndTwoEnginesShareARegistry() {
    Engine first = open();
    Engine second = open();
    SluiceMetrics one = SluiceMetrics.of(first, "m", "0");
    SluiceMetrics two = SluiceMetrics.of(second, "m", "1");
    one.bindTo(registry);
    two.bindTo(registry);
    first.generate(request(4, 3));
    first.close();
    one.close();
    one.close();
    assertThrows(IllegalStateException.class, () -> one.bindTo(registry));
    second.generate(request(4, 2));
    second.close();
    two.close();
    List<String> text = scraped();
    assertTrue(
        text.contains("sluice:request_generation_tokens_count{engine=\"0\",model_name=\"m\"} 1"));
    assertTrue(
        text.contains("sluice:request_generation_tokens_count{engine=\"1\",model_name=\"m\"} 1"));
    assertTrue(text.contains("sluice:generation_tokens_total{engine=\"0\",model_name=\"m\"} 3.0"));
  }

  @Test
  void theModelIsNamedAfterItsFolder() {
    try (Engine engine = open();
        SluiceMetrics bound = SluiceMetrics.of(engine)) {
      bound.bindTo(registry);
      assertTrue(
          scraped().contains("sluice:num_requests_running{engine=\"0\",model_name=\"llama\"} 0.0"));
      // Metrics only read: the engine goes on when they are closed.
      bound.close();
      engine.generate(request(3, 1));
    }
  }
}

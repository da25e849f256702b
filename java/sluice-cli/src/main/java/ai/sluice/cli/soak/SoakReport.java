package ai.sluice.cli.soak;

import ai.sluice.api.EngineMetrics;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.ToLongFunction;
import java.util.stream.Collectors;

/** What a soak found, and whether that is well. */
public final class SoakReport {
  /** Growth that is measured noise. */
  private static final double MOST_DRIFT = 0.02;

  /** A heap of a few megabytes moves by more than a share of it. */
  private static final long HEAP_NOISE_BYTES = 4_000_000;

  /** Share of the time in which caches and pools fill. */
  private static final double WARM_UP = 0.2;

  private static final double PERCENT = 100;

  /** Files that the JVM opens late by itself, such as jars of classes first used at the end. */
  private static final int MORE_FILES = 2;

  private record Check(String name, String found, String expected, boolean passed) {}

  private final List<Check> checks = new ArrayList<>();
  private final List<String> facts = new ArrayList<>();
  private final List<String> messages;

  SoakReport(
      SoakSettings settings,
      SoakTally tally,
      Map<String, String> refused,
      long nanos,
      String stall,
      EngineMetrics metrics,
      long usedBlocks,
      ProcessSample before,
      List<ProcessSample> samples,
      ProcessSample after,
      int handles) {
    messages = tally.messages();
    double seconds = nanos / 1e9;
    facts.add(
        String.format(
            Locale.ROOT, "%d requests in %.1f s (%s)", tally.numRequests(), seconds,
            tally.actions().entrySet().stream()
                .map(entry -> entry.getValue() + " " + entry.getKey())
                .collect(Collectors.joining(", "))));
    facts.add("ended: " + Soak.reasons(metrics.finished()));
    facts.add(
        String.format(
            Locale.ROOT,
            "%d new tokens, %.1f a second; %d prompt tokens computed, %d found; %d preemptions",
            metrics.newTokens(), metrics.newTokens() / seconds, metrics.promptTokens(),
            metrics.prefixHitTokens(), metrics.preemptions()));
    facts.add(
        String.format(
            Locale.ROOT, "%d of %d draft tokens accepted (%.0f %%)", metrics.drafts().accepted(),
            metrics.drafts().proposed(), PERCENT * metrics.drafts().acceptanceRate()));
    if (!settings.exact()) {
      facts.add(tally.numDifferent() + " outputs differed, which these numerics allow");
    }
    if (!refused.isEmpty()) {
      facts.add("not part of it: " + String.join(", ", refused.keySet()));
    }
    check("requests", tally.numRequests(), "1 or more", tally.numRequests() > 0);
    check("wrong outputs", tally.numWrong(), "0", tally.numWrong() == 0);
    check("stall", stall.isEmpty() ? "none" : stall, "none", stall.isEmpty());
    check("KV blocks in use", usedBlocks, "0", usedBlocks == 0);
    check("native engines", handles, "0", handles == 0);
    // Those of the engine were there before, so closing it makes room for none.
    check(
        "threads after closing",
        after.threads(),
        "fewer than " + before.threads(),
        after.threads() < before.threads() || before.threads() < 0);
    check(
        "files after closing",
        after.files(),
        "at most " + (before.files() + MORE_FILES),
        after.files() <= before.files() + MORE_FILES);
    List<ProcessSample> judged =
        samples.subList((int) Math.ceil(samples.size() * WARM_UP), samples.size());
    drift("RSS", judged, ProcessSample::rssBytes, 0);
    drift("Java heap", judged, ProcessSample::heapBytes, HEAP_NOISE_BYTES);
    // Threads that hand chunks out come and go with the requests that want them.
    drift("threads", judged, ProcessSample::threads, settings.concurrency());
    drift("files", judged, ProcessSample::files, MORE_FILES);
  }

  private void check(String name, Object found, String expected, boolean passed) {
    checks.add(new Check(name, String.valueOf(found), expected, passed));
  }

  private void drift(
      String name, List<ProcessSample> samples, ToLongFunction<ProcessSample> value, long noise) {
    List<Long> values = samples.stream().mapToLong(value).boxed().toList();
    if (values.size() < Drift.LEAST_SAMPLES || values.get(0) <= 0) {
      facts.add(
          name + " drift: not judged (" + values.size() + " samples after the warm-up, of "
              + Drift.LEAST_SAMPLES + ")");
      return;
    }
    double drift = Drift.of(values);
    long grown = Math.round(drift * values.get(0));
    check(
        name + " drift",
        String.format(Locale.ROOT, "%+.2f %%", drift * PERCENT),
        String.format(
            Locale.ROOT, "at most %.0f %%%s", MOST_DRIFT * PERCENT,
            noise > 0 ? " or " + noise : ""),
        drift <= MOST_DRIFT || grown <= noise);
  }

  /** Whether every check passed. */
  public boolean passed() {
    return checks.stream().allMatch(Check::passed);
  }

  /** A table of the checks, and what was done. */
  public String text() {
    StringBuilder text = new StringBuilder();
    facts.forEach(fact -> text.append(fact).append('\n'));
    text.append("\n| check | found | expected | |\n| --- | --- | --- | --- |\n");
    for (Check check : checks) {
      text.append("| ").append(check.name()).append(" | ").append(check.found()).append(" | ")
          .append(check.expected()).append(" | ").append(check.passed() ? "ok" : "FAILED")
          .append(" |\n");
    }
    messages.forEach(message -> text.append("wrong: ").append(message).append('\n'));
    return text.toString();
  }
}

package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EvalPerfCommandTest {
  @TempDir Path home;

  private CliRun perf(String... args) {
    String[] all = new String[args.length + 8];
    String[] own = {
      "eval", "perf", "--backend", "cpu", "--prompt-tokens", "8", "--new-tokens", "4"
    };
    System.arraycopy(own, 0, all, 0, own.length);
    System.arraycopy(args, 0, all, own.length, args.length);
    return CliRun.of(home, all);
  }

  @Test
  void speedsLieBesideTheScoresAndInTheTable() throws IOException {
    String model = GoldenFiles.fixture("llama").toString();
    Path run = MadeRuns.mmlu(home.resolve("llama"), "2026-01-01", 20, i -> i % 2 == 0);
    CliRun result =
        perf("-m", model, "-c", "1,2", "--requests", "3", "--out", run.toString(), "--json");
    assertEquals(0, result.code(), result.err());
    String json = result.out();
    assertEquals(json, Files.readString(run.resolve("perf.json")));
    assertEquals(8, Json.intAt(json, "/prompt_tokens"));
    assertEquals(2, Json.intAt(json, "/levels/1/concurrency"));
    assertEquals(2, Json.intAt(json, "/levels/1/warm_up_requests"));
    assertEquals(3, Json.intAt(json, "/levels/1/requests"));
    double median = Double.parseDouble(Json.at(json, "/levels/1/tpot_ms/median"));
    double p99 = Double.parseDouble(Json.at(json, "/levels/1/tpot_ms/p99"));
    assertTrue(median > 0 && p99 >= median, json);
    assertTrue(Double.parseDouble(Json.at(json, "/levels/0/tokens_per_second")) > 0, json);
    result = CliRun.of(home, "eval", "table", run.toString(), "--baseline", run.toString());
    assertTrue(result.out().contains("ms per token x2 "), result.out());
    assertFalse(result.out().contains("missing"), result.out());
  }

  @Test
  void aTableIsShown() {
    CliRun result = perf("--shape", "tiny-no-such", "-c", "1");
    assertEquals(2, result.code());
    String model = GoldenFiles.fixture("llama").toString();
    result = perf("-m", model, "-c", "1", "--requests", "2");
    assertEquals(0, result.code(), result.err());
    assertTrue(
        result.out().matches("(?s)llama, cpu \\w+: 8 prompt tokens, 4 new tokens\n.*"),
        result.out());
    assertTrue(result.out().contains("\nenergy: "), result.out());
    assertTrue(
        result.err().contains("1 at once: 1 requests to warm up, 2 measured"), result.err());
    result.out().lines().forEach(line -> assertTrue(line.length() <= 80, line));
  }

  @Test
  void speedsOfAnotherModelAreRefused() throws IOException {
    String model = GoldenFiles.fixture("llama").toString();
    Path run = MadeRuns.mmlu(home.resolve("other"), "2026-01-01", 2, i -> true);
    CliRun result = perf("-m", model, "-c", "1", "--out", run.toString());
    assertEquals(2, result.code());
    assertTrue(
        result.err().contains("model: llama (expected: other, that of the run in"), result.err());
    assertFalse(Files.exists(run.resolve("perf.json")));
  }

  @Test
  void wrongNumbersAreNamed() {
    assertTrue(perf("-c", "0").err().contains("concurrency: 0 (expected: 1 to 4096)"));
    assertEquals(2, perf("--new-tokens", "x").code());
    assertEquals(2, perf("--requests", "0").code());
    assertTrue(perf("--shape", "a", "-m", "b").err().contains("expected: a shape or a model"));
  }
}

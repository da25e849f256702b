package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Short soaks on models of a few kilobytes, and that each check fails when it must. */
@Timeout(120)
class SoakCommandTest {
  @TempDir Path home;

  private CliRun soak(String model, String... more) {
    String[] args = {"soak", "-m", model, "--seconds", "1", "--stall-seconds", "20"};
    String[] all = new String[args.length + more.length];
    System.arraycopy(args, 0, all, 0, args.length);
    System.arraycopy(more, 0, all, args.length, more.length);
    return CliRun.of(home, all);
  }

  @ParameterizedTest
  @ValueSource(strings = {"adaptive_moe", "qwen3_moe", "deepseek_v2"})
  void passesOnModelsOfEveryKindOfAttention(String fixture) {
    CliRun run = soak(GoldenFiles.fixture(fixture).toString(), "--concurrency", "8");
    assertEquals(0, run.code(), run.out() + run.err());
    assertFalse(run.out().contains("FAILED"), run.out());
  }

  @Test
  void passesWithATokenizerAndTellsWhatItDoes() {
    CliRun run = soak(GoldenFiles.TINY_CHAT.toString(), "--seconds", "3", "--status-seconds", "1");
    assertEquals(0, run.code(), run.out() + run.err());
    assertTrue(run.err().contains("tok/s"), run.err());
    for (String way : new String[] {"cancelled", "timed out", "stopped", "read slowly", "whole"}) {
      assertTrue(run.out().contains(way), way + " in " + run.out());
    }
    assertTrue(run.out().contains("| wrong outputs | 0 | 0 | ok |"), run.out());
  }

  @ParameterizedTest
  @CsvSource({
    "OUTPUT, wrong outputs",
    "STALL, stall",
    "BLOCKS, KV blocks in use",
    "THREADS, threads after closing",
    "FILES, files after closing",
    "HANDLES, native engines"
  })
  void failsWhenSomethingIsWrong(String fault, String check) {
    CliRun run =
        soak(
            GoldenFiles.fixture("llama").toString(),
            "--seconds", "2", "--stall-seconds", "STALL".equals(fault) ? "1" : "20",
            "--fault", fault);
    assertEquals(1, run.code(), run.out() + run.err());
    String row =
        run.out().lines().filter(line -> line.startsWith("| " + check + " |")).findFirst()
            .orElseThrow();
    assertTrue(row.endsWith("| FAILED |"), run.out());
  }

  @ParameterizedTest
  @CsvSource({
    "--seconds, 0",
    "--seconds, -1",
    "--seconds, 2147483647",
    "--concurrency, 0",
    "--concurrency, 1025",
    "--stall-seconds, 0",
    "--status-seconds, -1"
  })
  void refusesNumbersOutOfRange(String option, String value) {
    CliRun run = soak(GoldenFiles.fixture("llama").toString(), option, value);
    assertEquals(2, run.code(), run.err());
    assertTrue(
        run.err().startsWith("sluice: " + option + ": " + value + " (expected: 1 to "), run.err());
  }
}

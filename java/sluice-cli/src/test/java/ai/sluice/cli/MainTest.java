package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class MainTest {
  @TempDir Path home;

  @Test
  void aloneItSaysWhatToType() {
    CliRun run = CliRun.of(home);
    assertEquals(0, run.code());
    assertTrue(run.out().contains("sluice generate"), run.out());
    assertEquals("", run.err());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "generate", "chat", "classify", "batch", "pull", "models", "inspect", "verify", "bench",
        "doctor", "eval"
      })
  void everyCommandHasHelpAndIsListed(String command) {
    CliRun run = CliRun.of(home, command, "--help");
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().startsWith("Usage: sluice " + command), run.out());
    assertTrue(CliRun.of(home, "--help").out().contains("\n  " + command + " "));
  }

  @Test
  void anErrorIsOneLineAndItsTraceIsForVerbose() {
    for (Error error : List.of(new StackOverflowError(), new AssertionError("no way"))) {
      InputStream broken =
          new InputStream() {
            @Override
            public int read() {
              throw error;
            }
          };
      ByteArrayOutputStream out = new ByteArrayOutputStream();
      ByteArrayOutputStream err = new ByteArrayOutputStream();
      assertEquals(1, Main.run(new String[] {"generate", "-"}, broken, out, err));
      String said = err.toString(StandardCharsets.UTF_8);
      assertTrue(said.startsWith("sluice: defect: " + error), said);
      assertEquals(1, said.lines().count(), said);
      assertEquals(0, out.size());
      err.reset();
      String[] verbose = {"generate", "--verbose", "-"};
      assertEquals(1, Main.run(verbose, broken, out, err));
      assertTrue(err.toString(StandardCharsets.UTF_8).contains("\tat "), err.toString());
    }
  }

  @Test
  void versionComesFromTheBuild() {
    CliRun run = CliRun.of(home, "--version");
    assertEquals(0, run.code());
    assertTrue(run.out().matches("sluice \\d+\\.\\d+\\.\\d+\\S*\\n"), run.out());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "benhc                    | benhc: unknown command (did you mean bench?)",
        "generate --temprature 1  | --temprature: unknown option (did you mean --temperature?)",
        "pull a b                 | b: one argument too many",
        "generate --threads       | Missing required parameter for option '--threads' (N)",
      })
  void wrongUsageIsOneLineWithAHint(String arguments, String message) {
    CliRun run = CliRun.of(home, arguments.split(" +"));
    assertEquals(2, run.code());
    assertTrue(run.err().startsWith("sluice: " + message + "; see 'sluice"), run.err());
    assertEquals(1, run.errLines());
    assertEquals("", run.out());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "-t abc      | --temperature: abc (expected: a number, for example 0.7)",
        "-t -1       | --temperature: -1.0 (expected: 0.0 to 100.0)",
        "-t 1e999    | --temperature: 1e999 (expected: a number below 1.8e308)",
        "-t NaN      | --temperature: NaN (expected: a number, for example 0.7)",
        "-t 0x1p3    | --temperature: 0x1p3 (expected: a number, for example 0.7)",
        "--top-p 0   | --top-p: 0.0 (expected: above 0, at most 1)",
        "--top-k -1  | --top-k: -1 (expected: 0 to 2147483647)",
        "--min-p 1   | --min-p: 1.0 (expected: 0 or more, below 1)",
        "-n 0        | --max-new-tokens: 0 (expected: 1 to 2147483647)",
        "-n -5       | --max-new-tokens: -5 (expected: 1 to 2147483647)",
        "-n 3000000000 | --max-new-tokens: 3000000000 (expected: a whole number from -2147483648"
            + " to 2147483647)",
        "-n 1.5      | --max-new-tokens: 1.5 (expected: a whole number)",
        "--threads 0 | --threads: 0 (expected: 1 to 1024)",
        "--threads 99999 | --threads: 99999 (expected: 1 to 1024)",
        "--tensor-parallel-size 0 | --tensor-parallel-size: 0 (expected: 1 to 1024)",
        "--context-length 1 | --context-length: 1 (expected: 2 to 16777216)",
        "--seed 1e5  | --seed: 1e5 (expected: a whole number)",
        "--seed 99999999999999999999 | --seed: 99999999999999999999 (expected: a whole number from"
            + " -9223372036854775808 to 9223372036854775807)",
        "--dtype int3 | --dtype: int3 (expected: auto, float32 or bfloat16)",
        "--numerics x | --numerics: x (expected: fast or batch-invariant)",
        "--timeout 0 | --timeout: PT0S (expected: above zero)",
        "--logit-bias 7 | --logit-bias: 7 (expected: ID=X, for example 42=-5)",
        "--logit-bias -1=2 | --logit-bias: -1 (expected: 0 to 2147483647)",
        "--logit-bias 1=NaN | --logit-bias: NaN (expected: a number, for example 0.7)",
        "--logprobs 5 | --logprobs: 5 without --json (expected: --logprobs together with --json)",
        "--raw --system x | --system: given with --raw (expected: one of them; --raw has no place"
            + " for a system message)",
        "-f x        | prompt: given twice, as words and by --file (expected: a PROMPT in quotes,"
            + " - for standard input, --file FILE, or --tokens for ids)",
        "--tokens 1  | prompt: given twice, as words and by --tokens (expected: a PROMPT in quotes,"
            + " - for standard input, --file FILE, or --tokens for ids)",
      })
  void badValuesNameOptionValueAndExpectation(String arguments, String message) {
    CliRun run = CliRun.of(home, ("generate hello -m nowhere " + arguments).split(" +"));
    assertEquals(2, run.code(), run.err());
    assertTrue(run.err().startsWith("sluice: " + message), run.err());
    assertEquals(1, run.errLines());
  }

  @Test
  void theLastOfARepeatedOptionCounts() {
    CliRun run = CliRun.of(home, "generate", "hi", "-n", "x1", "-n", "-7");
    assertTrue(run.err().startsWith("sluice: --max-new-tokens: x1"), run.err());
    run = CliRun.of(home, "generate", "hi", "-n", "4", "-n", "-7");
    assertEquals("sluice: --max-new-tokens: -7 (expected: 1 to 2147483647)\n", run.err());
  }

  @Test
  void promptMustBeThere() {
    assertTrue(CliRun.of(home, "generate").err().contains("prompt: missing"));
    assertTrue(CliRun.of(home, "generate", "").err().contains("prompt: empty"));
    assertTrue(CliRun.of(home, "generate", "-").err().contains("prompt: empty"));
  }

  @Test
  void invalidUtf8IsRefusedWithItsPlace() throws IOException {
    byte[] bad = {'a', 'b', (byte) 0xff, 'c'};
    CliRun piped = CliRun.of(home, Map.of(), bad, "generate", "-");
    assertEquals(2, piped.code());
    assertTrue(piped.err().contains("standard input: invalid UTF-8 at byte 2, 0xFF"), piped.err());
    Path file = Files.write(home.resolve("bad.txt"), bad);
    CliRun read = CliRun.of(home, "generate", "--file", file.toString());
    assertEquals(2, read.code());
    assertTrue(read.err().contains("bad.txt: invalid UTF-8 at byte 2"), read.err());
  }

  @Test
  void modelMustExist() {
    CliRun run = CliRun.of(home, "generate", "hi", "--model", "nowhere");
    assertEquals(2, run.code());
    assertEquals(
        "sluice: model: nowhere not found (expected: a folder, a .gguf file or one of"
            + " SmolLM2-135M-Instruct)\n",
        run.err());
  }

  @Test
  void stackTracesNeedVerbose() {
    CliRun quiet = CliRun.of(home, "inspect", "nowhere");
    CliRun verbose = CliRun.of(home, "inspect", "nowhere", "--verbose");
    assertFalse(quiet.err().contains("\tat "));
    assertTrue(verbose.err().contains("\tat ai.sluice.cli"), verbose.err());
    assertTrue(verbose.err().startsWith(quiet.err()));
  }

  @Test
  void defectsSayThatTheyAreDefects() {
    String line = Failures.line(new IllegalStateException("broken"));
    assertAll(
        () -> assertTrue(line.startsWith("defect: "), line),
        () -> assertTrue(line.contains("broken") && line.contains("--verbose"), line));
  }

  @Test
  void closedOutputEndsInSilence() {
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    OutputStream closed =
        new OutputStream() {
          @Override
          public void write(int b) throws IOException {
            throw new IOException("Broken pipe");
          }
        };
    int code =
        Main.run(new String[] {"--version"}, InputStream.nullInputStream(), closed, err);
    assertEquals(141, code);
    assertEquals("", err.toString(StandardCharsets.UTF_8));
  }

  @Test
  void fullDiskIsSaid() {
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    OutputStream full =
        new OutputStream() {
          @Override
          public void write(int b) throws IOException {
            throw new IOException("No space left on device");
          }
        };
    int code = Main.run(new String[] {"--help"}, InputStream.nullInputStream(), full, err);
    assertEquals(1, code);
    assertEquals(
        "sluice: standard output: No space left on device\n", err.toString(StandardCharsets.UTF_8));
  }
}

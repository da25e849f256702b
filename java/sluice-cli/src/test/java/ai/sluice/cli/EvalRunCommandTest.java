package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EvalRunCommandTest {
  @TempDir Path home;

  private CliRun eval(String... more) throws IOException {
    List<String> args =
        new ArrayList<>(
            List.of(
                "eval", "-m", GoldenFiles.TINY_CHAT.toString(), "--data",
                EvalFiles.write(home.resolve("data")).toString(), "--out",
                home.resolve("run").toString()));
    args.addAll(List.of(more));
    return CliRun.of(home, args.toArray(String[]::new));
  }

  @Test
  void aRunIsWrittenAndGoneOnWith() throws IOException {
    CliRun run = eval("mmlu", "--num-fewshot", "1");
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().contains("mmlu                     1      6  acc "), run.out());
    assertTrue(run.err().contains("0 prompts too long"), run.err());
    assertTrue(run.err().contains("run: " + home.resolve("run")), run.err());
    List<String> items = Files.readAllLines(home.resolve("run/items.jsonl"));
    assertEquals(6, items.size());
    CliRun again = eval("mmlu", "--num-fewshot", "1");
    assertEquals(0, again.code(), again.err());
    assertTrue(again.err().contains("done already: 6 of 6"), again.err());
    assertEquals(run.out(), again.out());
    assertEquals(items, Files.readAllLines(home.resolve("run/items.jsonl")));
    CliRun other = eval("mmlu", "--num-fewshot", "0");
    assertEquals(2, other.code());
    assertTrue(other.err().contains("mmlu.num_fewshot: 0 (expected: 1, "), other.err());
    assertFalse(other.err().contains("done already"), other.err());
    CliRun anew = eval("mmlu", "--num-fewshot", "0", "--restart");
    assertEquals(0, anew.code(), anew.err());
  }

  /** A name shorter than any of the library's. */
  @Test
  void aFileIsATask() throws IOException {
    Path file = home.resolve("q.jsonl");
    String line = "{\"prompt\": \"2, 4\", \"choices\": [\"5\", \"6\"], \"answer\": 0}\n";
    Files.writeString(file, line);
    CliRun run = eval(file.toString());
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().contains("\nq  "), run.out());
    assertTrue(Files.exists(home.resolve("run/results.json")));
    Files.writeString(file, line.replace("0}", "1}"));
    run = eval(file.toString());
    assertEquals(2, run.code());
    assertTrue(run.err().contains("q.data_sha256: "), run.err());
    Files.writeString(file, line.replace("0}", "2}"));
    run = eval(file.toString());
    assertEquals(2, run.code());
    assertTrue(run.err().contains("q.jsonl, line 1: answer: 2 (expected: the "), run.err());
  }

  @Test
  void whatIsUnknownIsNamedBeforeTheModelIsLoaded() throws IOException {
    CliRun run = eval("mmul");
    assertEquals(2, run.code());
    assertTrue(run.err().contains("task: mmul (expected: mmlu, "), run.err());
    run = eval("mmlu", "--subjects", "tide_tabels");
    assertEquals(2, run.code());
    assertTrue(run.err().contains("subjects: tide_tabels (expected: tide_tables"), run.err());
    run = eval("gsm8k", "--subjects", "tide_tables", "--num-fewshot", "0");
    assertEquals(2, run.code());
    assertTrue(run.err().contains("no subjects"), run.err());
    run = eval("humaneval", "--predict-only", "--out", home.resolve("code").toString());
    assertEquals(2, run.code());
    assertTrue(run.err().contains("answers of 1024 tokens in a context of 256"), run.err());
    Path file = Files.writeString(home.resolve("file"), "");
    run = eval("mmlu", "--out", file.toString());
    assertEquals(1, run.code());
    assertTrue(run.err().contains(file + ": " + file + ": FileAlreadyExists (expected: a folder"), run.err());
    run =
        CliRun.of(
            home, "eval", "mmlu", "-m", GoldenFiles.TINY_CHAT.toString(), "--data",
            home.resolve("nothing").toString());
    assertEquals(2, run.code());
    assertTrue(run.err().contains("eval fetch "), run.err());
    assertTrue(run.err().contains("--data"), run.err());
  }
}

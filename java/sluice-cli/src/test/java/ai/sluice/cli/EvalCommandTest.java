package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EvalCommandTest {
  @TempDir Path home;

  private CliRun prompts(String task, String out) throws IOException {
    return CliRun.of(home, "eval", "prompts", task, "--data", data().toString(), "--out", out);
  }

  private Path data() throws IOException {
    Path folder = Files.createDirectories(home.resolve("data/humaneval"));
    Files.writeString(
        folder.resolve("HumanEval.jsonl"),
        "{\"task_id\": \"own/0\", \"prompt\": \"def f():\\n\", \"canonical_solution\": \"\","
            + " \"test\": \"def check(f):\\n\", \"entry_point\": \"f\"}\n");
    return folder.getParent();
  }

  @Test
  void hashesOfPromptsAreWritten() throws IOException {
    Path out = home.resolve("p.tsv");
    CliRun run = prompts("humaneval", out.toString());
    assertEquals(0, run.code(), run.err());
    assertEquals("1 prompts of humaneval: " + out + "\n", run.out());
    // printf 'def f():\n' | sha256sum
    assertEquals("humaneval\t0\t142c914812a74c4b\n", Files.readString(out));
  }

  @Test
  void promptsHaveStyles() throws IOException {
    String out = home.resolve("p.tsv").toString();
    String folder = data().toString();
    String[] base = {"eval", "prompts", "humaneval", "--data", folder, "--out", out};
    CliRun run = CliRun.of(home, with(base, "--prompt-style", "deepseek"));
    assertEquals(0, run.code(), run.err());
    assertEquals("humaneval\t0\t142c914812a74c4b\n", Files.readString(Path.of(out)));
    run = CliRun.of(home, with(base, "--prompt-style", "helm"));
    assertEquals(2, run.code());
    assertTrue(
        run.err().contains("prompt-style: helm (expected: lm-eval or deepseek)"), run.err());
    base[2] = "gsm8k_cot";
    run = CliRun.of(home, with(base, "--prompt-style", "deepseek"));
    assertEquals(2, run.code());
    assertTrue(run.err().contains("prompt-style: deepseek for gsm8k_cot (expected:"), run.err());
  }

  private static String[] with(String[] args, String... more) {
    return Stream.of(args, more).flatMap(Stream::of).toArray(String[]::new);
  }

  @Test
  void whatIsWrongIsNamed() throws IOException {
    Path out = home.resolve("p.tsv");
    CliRun run = prompts("gsm", out.toString());
    assertEquals(2, run.code());
    assertTrue(run.err().contains("task: gsm (expected: gsm8k, "), run.err());
    run = prompts("all", out.toString());
    assertEquals(2, run.code());
    assertTrue(run.err().contains("--data FOLDER"), run.err());
    assertFalse(Files.exists(out));
    try (var files = Files.list(home)) {
      assertEquals(1, files.count(), "nothing but the data is left");
    }
    run = prompts("humaneval", home + "/no/p");
    assertEquals(1, run.code());
    assertTrue(run.err().contains("no such folder"), run.err());
    run = CliRun.of(home, "eval");
    assertEquals(2, run.code());
    assertTrue(run.err().contains("no task"), run.err());
  }
}

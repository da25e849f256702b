package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Batches in processes of their own, which are killed. */
@Timeout(300)
class BatchKillTest {
  private static final int LINES = 3000;
  private static final int KILLS = 10;

  @TempDir Path folder;
  private Path input;
  private Path output;

  @BeforeEach
  void write() throws IOException {
    write(4);
  }

  private void write(int leastTokens) throws IOException {
    input = folder.resolve("in.jsonl");
    output = folder.resolve("out.jsonl");
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < LINES; i++) {
      lines.add(
          i % 7 == 3
              ? "{\"custom_id\":\"id" + i + "\",\"body\":{\"prompt\":\"x\",\"n\":0}}"
              : "{\"custom_id\":\"id" + i + "\",\"body\":{\"prompt\":\"the sky " + i
                  + "\",\"max_tokens\":" + (leastTokens + i % 13) + ",\"temperature\":0}}");
    }
    Files.write(input, lines);
  }

  private List<String> command(Path to) {
    return ChildJvm.command(
        List.of(),
        List.of(
            "batch", "-i", input.toString(), "-o", to.toString(), "-m",
            GoldenFiles.TINY_CHAT.toString(), "--numerics", "batch-invariant", "--dtype",
            "float32"));
  }

  private Process start() throws IOException {
    return start(command(output));
  }

  private Process start(List<String> command) throws IOException {
    return new ProcessBuilder(command)
        .redirectErrorStream(true)
        .redirectOutput(folder.resolve("log").toFile())
        .start();
  }

  private static long size(Path file) throws IOException {
    return Files.exists(file) ? Files.size(file) : 0;
  }

  /** Text, or the error's code, by custom_id; each id once, each line whole. */
  private static Map<String, String> answers(Path file) throws IOException {
    Map<String, String> answers = new HashMap<>();
    String text = Files.readString(file);
    assertTrue(text.endsWith("\n"));
    for (String line : text.split("\n")) {
      String id = Json.at(line, "/custom_id");
      String answer =
          line.contains("\"status_code\":200")
              ? Json.at(line, "/response/body/choices/0/text")
              : Json.at(line, "/response/body/error/code");
      assertEquals(null, answers.put(id, answer), "twice: " + id);
    }
    return answers;
  }

  @Test
  void aKilledBatchGoesOnWhereItWas() throws Exception {
    Random random = new Random(20261122);
    int killed = 0;
    boolean torn = false;
    while (killed < KILLS) {
      long before = size(output);
      Process process = start();
      // Killed once some more lines are there, at any byte of a line.
      long until = before + 20_000 + random.nextInt(40_000);
      while (process.isAlive() && size(output) < until) {
        Thread.onSpinWait();
      }
      if (random.nextBoolean()) {
        TimeUnit.MICROSECONDS.sleep(random.nextInt(20_000));
      }
      boolean alive = process.isAlive();
      process.destroyForcibly().waitFor();
      assertTrue(alive, () -> "over before it was killed: " + log());
      killed++;
      // A write cannot be interrupted between two bytes often enough to meet it by chance.
      if (killed % 3 == 0) {
        cut(random.nextInt(300));
        torn = true;
      }
    }
    assertTrue(torn);
    assertTrue(answersOfWholeLines() < LINES, "the kills came too late");
    Process last = start();
    assertEquals(0, last.waitFor(), this::log);
    assertTrue(log().contains("answered already: "), this::log);
    Path unbroken = folder.resolve("unbroken.jsonl");
    Process other =
        new ProcessBuilder(command(unbroken))
            .redirectErrorStream(true)
            .redirectOutput(folder.resolve("log").toFile())
            .start();
    assertEquals(0, other.waitFor(), this::log);
    Map<String, String> expected = answers(unbroken);
    assertEquals(LINES, expected.size());
    assertEquals(expected, answers(output));
  }

  @Test
  void aFullDiskLosesNothing() throws Exception {
    List<String> limited =
        new ArrayList<>(List.of("bash", "-c", "ulimit -f 200; exec \"$@\"", "-"));
    limited.addAll(command(output));
    Process full =
        new ProcessBuilder(limited)
            .redirectErrorStream(true)
            .redirectOutput(folder.resolve("log").toFile())
            .start();
    assertEquals(1, full.waitFor(), this::log);
    assertTrue(
        log().contains("sluice: " + output + ": File too large (expected: a file that can be"),
        this::log);
    int before = answers(output).size();
    assertTrue(before > 100 && before < LINES, "answered: " + before);
    assertEquals(0, start().waitFor(), this::log);
    assertTrue(log().contains("answered already: " + before), this::log);
    assertEquals(LINES, answers(output).size());
  }

  @Test
  void anInterruptedBatchSaysSoAndGoesOn() throws Exception {
    // Answers long enough that the signal comes before the last of them on a fast machine too.
    write(100);
    // Where tests run in the background, an interrupt is ignored, and a child inherits that.
    List<String> interruptible = new ArrayList<>(List.of("env", "--default-signal=INT"));
    interruptible.addAll(command(output));
    Process process = start(interruptible);
    while (process.isAlive() && size(output) < 20_000) {
      Thread.onSpinWait();
    }
    assertEquals(
        0,
        new ProcessBuilder("kill", "-INT", Long.toString(process.pid())).start().waitFor());
    assertEquals(130, process.waitFor(), this::log);
    assertTrue(
        log().contains("interrupted; the same command goes on from here"), this::log);
    assertTrue(answersOfWholeLines() < LINES, "the signal came too late");
    assertEquals(0, start().waitFor(), this::log);
    assertEquals(LINES, answers(output).size());
  }

  private String log() {
    try {
      return Files.readString(folder.resolve("log"));
    } catch (IOException e) {
      return e.toString();
    }
  }

  private long answersOfWholeLines() throws IOException {
    try (Stream<String> lines = Files.lines(output)) {
      return lines.count();
    }
  }

  private void cut(int bytes) throws IOException {
    try (FileChannel channel =
        FileChannel.open(output, StandardOpenOption.WRITE)) {
      channel.truncate(Math.max(0, channel.size() - bytes));
    }
  }
}

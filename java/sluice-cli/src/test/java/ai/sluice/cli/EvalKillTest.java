package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * Evaluations in processes of their own, which are killed. A process that is stopped is also looked
 * at: its files are those that a kill at this point would leave, so that one process gives several
 * points.
 */
@Timeout(300)
class EvalKillTest {
  private static final int POINTS = 50;
  private static final int POINTS_A_PROCESS = 10;
  private static final int QUESTIONS = 120;
  private static final int ITEMS = 2 * QUESTIONS;
  private static final int WINDOW = 16;

  @TempDir Path folder;
  private Path data;

  @BeforeEach
  void write() throws IOException {
    data = EvalFiles.write(folder.resolve("data"), QUESTIONS);
  }

  private List<String> arguments(Path out) {
    return List.of(
        "eval", "mmlu", "-m", GoldenFiles.TINY_CHAT.toString(), "--data", data.toString(),
        "--num-fewshot", "1", "--concurrency", String.valueOf(WINDOW / 2), "--out",
        out.toString());
  }

  private Process start(Path out, String... before) throws IOException {
    List<String> command = new ArrayList<>(List.of(before));
    command.addAll(ChildJvm.command(List.of(), arguments(out)));
    return new ProcessBuilder(command)
        .redirectErrorStream(true)
        .redirectOutput(folder.resolve("log").toFile())
        .start();
  }

  private CliRun goOn(Path out) {
    return CliRun.of(folder, arguments(out).toArray(String[]::new));
  }

  private static void signal(Process process, String signal) throws Exception {
    Process kill =
        new ProcessBuilder("kill", "-" + signal, Long.toString(process.pid())).start();
    kill.waitFor();
  }

  /** Waits until every thread of a process stands still. */
  private static void awaitStopped(Process process) throws IOException {
    while (process.isAlive()) {
      boolean all = true;
      try (Stream<Path> threads = Files.list(Path.of("/proc/" + process.pid() + "/task"))) {
        for (Path thread : threads.toList()) {
          String state = Files.readString(thread.resolve("stat"));
          all &= state.charAt(state.lastIndexOf(')') + 2) == 'T';
        }
      }
      if (all) {
        return;
      }
      Thread.onSpinWait();
    }
  }

  private static long size(Path file) throws IOException {
    return Files.exists(file) ? Files.size(file) : 0;
  }

  private static void copy(Path from, Path to) throws IOException {
    Files.createDirectories(to);
    try (Stream<Path> files = Files.list(from)) {
      for (Path file : files.toList()) {
        Files.copy(file, to.resolve(file.getFileName()));
      }
    }
  }

  /** Lines that are whole, sorted: what a run amounts to. */
  private static List<String> items(Path run) throws IOException {
    Path file = run.resolve("items.jsonl");
    String text = Files.exists(file) ? Files.readString(file) : "";
    List<String> lines = new ArrayList<>(List.of(text.split("\n", -1)));
    lines.remove(lines.size() - 1);
    return lines.stream().sorted().toList();
  }

  /** Texts of what is written for others, by file. */
  private static Map<String, String> results(Path run) throws IOException {
    Map<String, String> out = new TreeMap<>();
    try (Stream<Path> files = Files.list(run)) {
      for (Path file : files.toList()) {
        String name = file.getFileName().toString();
        if (name.equals("results.json") || name.startsWith("samples_")) {
          out.put(name, Files.readString(file));
        }
      }
    }
    assertEquals(3, out.size(), out.keySet().toString());
    return out;
  }

  private String log() {
    try {
      return Files.readString(folder.resolve("log"));
    } catch (IOException e) {
      return e.toString();
    }
  }

  @Test
  void aRunThatIsKilledAnywhereComesToTheSame() throws Exception {
    Path unbroken = folder.resolve("unbroken");
    CliRun whole = goOn(unbroken);
    assertEquals(0, whole.code(), whole.err());
    List<String> expected = items(unbroken);
    assertEquals(ITEMS, expected.size());
    long bytes = size(unbroken.resolve("items.jsonl"));
    Random random = new Random(20261123);
    Set<Integer> sizes = new HashSet<>();
    int points = 0;
    for (int run = 0; points < POINTS; run++) {
      Path out = folder.resolve("run" + run);
      Process process = start(out);
      List<Path> left = new ArrayList<>();
      // Points at random sizes of the file, the first before it is there.
      for (int i = 0; i < POINTS_A_PROCESS && process.isAlive(); i++) {
        long until = bytes * i / POINTS_A_PROCESS + random.nextInt((int) bytes / 20);
        while (process.isAlive() && size(out.resolve("items.jsonl")) < until) {
          Thread.onSpinWait();
        }
        if (!Files.exists(out)) {
          continue;
        }
        signal(process, "STOP");
        awaitStopped(process);
        if (process.isAlive()) {
          Path point = folder.resolve("run" + run + "-" + i);
          copy(out, point);
          left.add(point);
        }
        signal(process, i == POINTS_A_PROCESS - 1 ? "KILL" : "CONT");
      }
      process.destroyForcibly().waitFor();
      left.add(out);
      for (Path point : left) {
        points++;
        List<String> before = items(point);
        sizes.add(before.size());
        assertTrue(new HashSet<>(expected).containsAll(before), "another item than ever after");
        CliRun rest = goOn(point);
        assertEquals(0, rest.code(), rest.err());
        assertEquals(expected, items(point));
        assertEquals(whole.out(), rest.out());
        assertEquals(results(unbroken), results(point));
        // Nothing that was done is done again: what is left is told.
        if (!before.isEmpty() && before.size() < ITEMS) {
          assertTrue(
              rest.err().contains("done already: " + before.size() + " of " + ITEMS)
                  && rest.err().contains((ITEMS - before.size()) + " items in "),
              rest.err());
        }
      }
    }
    assertTrue(sizes.size() > POINTS / 3, "points at " + sizes);
  }

  @Test
  void aFullDiskSaysSoAndTheRunGoesOn() throws Exception {
    // Libraries are unpacked once on a machine, for which there is no room below.
    assertEquals(0, goOn(folder.resolve("first")).code());
    Path out = folder.resolve("full");
    Process full = start(out, "bash", "-c", "ulimit -f 64; exec \"$@\"", "-");
    assertEquals(1, full.waitFor(), this::log);
    assertTrue(
        log().contains("sluice: " + out + ": File too large (expected: a folder that can be"),
        this::log);
    int before = items(out).size();
    assertTrue(before > 10 && before < ITEMS, "done: " + before);
    CliRun rest = goOn(out);
    assertEquals(0, rest.code(), rest.err());
    assertTrue(rest.err().contains("done already: " + before + " of "), rest.err());
    assertEquals(ITEMS, items(out).size());
  }

  @Test
  void anInterruptKeepsWhatIsDone() throws Exception {
    Path out = folder.resolve("interrupted");
    // Where tests run in the background, an interrupt is ignored, and a child inherits that.
    Process process = start(out, "env", "--default-signal=INT");
    while (process.isAlive() && items(out).size() < 10) {
      Thread.onSpinWait();
    }
    signal(process, "STOP");
    int before = items(out).size();
    signal(process, "INT");
    signal(process, "CONT");
    assertEquals(130, process.waitFor(), this::log);
    assertTrue(before < ITEMS - WINDOW, "the signal came too late");
    assertTrue(log().contains("interrupted: "), this::log);
    assertTrue(log().contains("the same command goes on from there"), this::log);
    assertTrue(items(out).size() >= before && items(out).size() < ITEMS, "lost some");
    CliRun rest = goOn(out);
    assertEquals(0, rest.code(), rest.err());
    assertEquals(ITEMS, items(out).size());
  }
}

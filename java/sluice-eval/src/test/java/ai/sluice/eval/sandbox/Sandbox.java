package ai.sluice.eval.sandbox;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Assumptions;

/** Sandboxes for tests, told from others by their limit: it is an argument of their processes. */
final class Sandbox {
  private static final AtomicInteger MILLIS =
      new AtomicInteger((int) (ProcessHandle.current().pid() % 900));

  private Sandbox() {}

  /** Options whose limit is so many whole seconds and some thousandths no other test has. */
  static SandboxOptions options(int seconds) {
    SandboxOptions defaults = SandboxOptions.defaults();
    return new SandboxOptions(
        defaults.bubblewrap(), defaults.python(), seconds + MILLIS.incrementAndGet() / 1e3);
  }

  /** A runner; without one the test is left out aloud, but only where bubblewrap does not work. */
  static BubblewrapRunner open(SandboxOptions options) throws Exception {
    try {
      return BubblewrapRunner.open(options);
    } catch (SandboxUnavailableException e) {
      if (bubblewrapWorks()) {
        throw e;
      }
      System.err.println("SKIPPED: tests of generated code: " + e.getMessage());
      Assumptions.abort(e.getMessage());
      throw e;
    }
  }

  private static boolean bubblewrapWorks() throws Exception {
    Path bubblewrap = SandboxOptions.defaults().bubblewrap();
    if (!Files.exists(bubblewrap)) {
      // The launcher installs it where it is allowed to.
      return System.getProperty("user.name").equals("root");
    }
    Process process =
        new ProcessBuilder(bubblewrap.toString(), "--unshare-all", "--ro-bind", "/", "/", "true")
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .start();
    return process.waitFor() == 0;
  }

  /** Fails if a process of the sandbox is still there after some seconds. */
  static void assertNothingIsAlive(SandboxOptions options) throws Exception {
    List<String> alive = alive(options);
    for (int i = 0; i < 200 && !alive.isEmpty(); i++) {
      Thread.sleep(50);
      alive = alive(options);
    }
    assertTrue(alive.isEmpty(), () -> "still alive: " + alive(options));
  }

  /** Folders in /proc of processes with the limit among their arguments; zombies have none. */
  static List<String> alive(SandboxOptions options) {
    String limit = String.format(Locale.ROOT, "\0%.3f\0", options.limitSeconds());
    List<String> out = new ArrayList<>();
    try (var processes = Files.newDirectoryStream(Path.of("/proc"), "[1-9]*")) {
      for (Path process : processes) {
        try {
          byte[] arguments = Files.readAllBytes(process.resolve("cmdline"));
          if (new String(arguments, StandardCharsets.UTF_8).contains(limit)) {
            out.add(process.toString());
          }
        } catch (IOException gone) {
          // It has ended meanwhile.
        }
      }
    } catch (IOException e) {
      throw new AssertionError(e);
    }
    return out;
  }
}

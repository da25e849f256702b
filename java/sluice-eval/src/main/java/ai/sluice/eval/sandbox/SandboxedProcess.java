package ai.sluice.eval.sandbox;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/** One interpreter in the sandbox, from its start to its end. */
final class SandboxedProcess {
  /** What is read of it at most, in bytes. */
  static final int MOST_OUTPUT = 4096;
  // Until the program begins; far more than a machine takes that is not stuck.
  private static final double START_SECONDS = 60;
  // After the limit, for the interpreter to notice it by itself.
  private static final double GRACE_SECONDS = 1;
  private static final SecureRandom NAMES = new SecureRandom();

  // What the interpreter says when it runs. Not before then is it given a program: until bubblewrap
  // is done, the death of one process is not yet that of the others.
  private static final byte[] UP = "up\n".getBytes(StandardCharsets.US_ASCII);

  private final Jail jail;
  private final String name = HexFormat.of().toHexDigits(NAMES.nextLong());
  private final ScheduledExecutorService timers;
  private final double limitSeconds;
  private @Nullable Process process;
  private boolean cancelled;
  private final byte[] output = new byte[MOST_OUTPUT + 1];
  private int length;
  private volatile boolean late;

  SandboxedProcess(Jail jail, ScheduledExecutorService timers, double limitSeconds) {
    this.jail = jail;
    this.timers = timers;
    this.limitSeconds = limitSeconds;
  }

  /**
   * What came of it.
   *
   * @param began whether the interpreter was ready for the program
   * @param output what it wrote since it was up, or all where it never was, cut at {@link
   *     #MOST_OUTPUT} bytes
   * @param tooMuch whether it was cut, and the process ended for it
   * @param late whether it was ended at its deadline
   * @param status its exit status
   */
  record End(boolean began, String output, boolean tooMuch, boolean late, int status) {}

  /**
   * Starts it, hands over nonce and program, reads to the end, and leaves nothing alive.
   *
   * @param ready what the interpreter writes first when the program begins
   * @throws IOException when it cannot be started
   * @throws CancellationException when it was cancelled
   */
  End run(byte[] input, byte[] ready) throws IOException, InterruptedException {
    Process started = start();
    ScheduledFuture<?> deadline = stopAfter(started, START_SECONDS);
    try {
      while (length < UP.length && read(started)) {
        // No more than this is written yet.
      }
      boolean up = has(0, UP);
      int from = up ? UP.length : 0;
      if (up) {
        feed(started, input);
      }
      boolean began = false;
      while (length < output.length && read(started)) {
        if (!began && up && has(from, ready)) {
          began = true;
          deadline.cancel(false);
          deadline = stopAfter(started, limitSeconds + GRACE_SECONDS);
        }
      }
      boolean tooMuch = length == output.length;
      if (tooMuch) {
        kill(started);
      }
      int status = started.waitFor();
      if (isCancelled()) {
        throw new CancellationException();
      }
      String text =
          new String(
              output, from, Math.min(length, MOST_OUTPUT) - from, StandardCharsets.UTF_8);
      return new End(began, text, tooMuch, late, status);
    } finally {
      deadline.cancel(false);
      kill(started);
    }
  }

  private synchronized Process start() throws IOException {
    if (cancelled) {
      throw new CancellationException();
    }
    process = jail.start(name);
    return process;
  }

  /** Ends it, or keeps it from starting. Idempotent; from any thread. */
  synchronized void cancel() {
    cancelled = true;
    if (process != null) {
      kill(process);
    }
  }

  private synchronized boolean isCancelled() {
    return cancelled;
  }

  private ScheduledFuture<?> stopAfter(Process started, double seconds) {
    return timers.schedule(
        () -> {
          late |= started.isAlive();
          kill(started);
        },
        Math.round(seconds * 1e9), TimeUnit.NANOSECONDS);
  }

  private void feed(Process started, byte[] input) {
    try (OutputStream in = started.getOutputStream()) {
      in.write(input);
    } catch (IOException ignored) {
      // It has ended already; what it wrote says why.
    }
  }

  private boolean read(Process started) {
    try {
      InputStream out = started.getInputStream();
      int count = out.read(output, length, output.length - length);
      length += Math.max(count, 0);
      return count >= 0;
    } catch (IOException e) {
      return false; // Closed by kill().
    }
  }

  private boolean has(int from, byte[] text) {
    return length >= from + text.length
        && Arrays.equals(output, from, from + text.length, text, 0, text.length);
  }

  private void kill(Process started) {
    if (!started.isAlive()) {
      return;
    }
    started.destroyForcibly();
    try {
      // The kernel ends the others with it, but for the moments in which bubblewrap begins.
      started.onExit().join();
      for (List<ProcessHandle> left = others(); !left.isEmpty(); left = others()) {
        left.forEach(ProcessHandle::destroyForcibly);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  // Its name is an argument of all, and a program cannot make it another's. Zombies have no
  // arguments.
  private List<ProcessHandle> others() throws IOException {
    List<ProcessHandle> out = new ArrayList<>();
    try (DirectoryStream<Path> processes =
        Files.newDirectoryStream(Path.of("/proc"), "[1-9]*")) {
      for (Path process : processes) {
        try {
          String arguments =
              Files.readString(process.resolve("cmdline"), StandardCharsets.ISO_8859_1);
          if (arguments.contains("\0" + name + "\0")) {
            ProcessHandle.of(Long.parseLong(process.getFileName().toString())).ifPresent(out::add);
          }
        } catch (IOException gone) {
          // It has ended meanwhile.
        }
      }
    }
    return out;
  }
}

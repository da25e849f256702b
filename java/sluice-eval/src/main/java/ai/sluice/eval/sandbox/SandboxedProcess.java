package ai.sluice.eval.sandbox;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
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

  private final Jail jail;
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
   * @param output what it wrote, cut at {@link #MOST_OUTPUT} bytes
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
      feed(started, input);
      boolean began = false;
      while (length < output.length && read(started)) {
        if (!began && begins(ready)) {
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
          new String(output, 0, Math.min(length, MOST_OUTPUT), StandardCharsets.UTF_8);
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
    process = jail.start();
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

  private boolean begins(byte[] ready) {
    return length >= ready.length
        && Arrays.equals(output, 0, ready.length, ready, 0, ready.length);
  }

  private static void kill(Process started) {
    if (!started.isAlive()) {
      return;
    }
    // The kernel ends the others with bubblewrap, but for the moment in which it begins.
    List<ProcessHandle> others = started.descendants().toList();
    started.destroyForcibly();
    others.forEach(ProcessHandle::destroyForcibly);
  }
}

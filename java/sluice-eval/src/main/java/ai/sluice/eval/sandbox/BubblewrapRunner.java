package ai.sluice.eval.sandbox;

import ai.sluice.eval.EvalException;
import ai.sluice.eval.sandbox.Verdict.Outcome;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.Pattern;

/**
 * Runs each program in a Linux sandbox of its own: bubblewrap's namespaces without network, a
 * read-only view of {@code /usr}, a list of system calls, and limits of memory, files and time. It
 * protects the machine from the program; see docs/evaluation.md for what it cannot protect, the
 * verdict from a program that forges it.
 *
 * <p>Thread-safe: as many programs run at once as threads call. A thread that is interrupted while
 * its program runs ends the program, throws {@link EvalException} and stays interrupted.
 */
public final class BubblewrapRunner implements CodeRunner {
  /** Longest program, in bytes of UTF-8. */
  public static final int MOST_SOURCE = 64 << 10;

  private static final SecureRandom RANDOM = new SecureRandom();
  private static final Pattern ADDRESS = Pattern.compile("\\b0x[0-9a-f]{6,16}\\b");
  private static final long CLOSE_SECONDS = 5;

  static final String ELSEWHERE =
      "keep the answers with --predict-only and judge them where there is a sandbox, by"
          + " 'sluice eval score RUN'";

  private final SandboxOptions options;
  private final Jail jail;
  private final Set<SandboxedProcess> running = ConcurrentHashMap.newKeySet();
  private final ScheduledExecutorService timers =
      Executors.newSingleThreadScheduledExecutor(daemon("sluice-sandbox-timer"));
  // Programs are started by threads that outlive them: the kernel ends a process when the thread
  // that started it ends.
  private final ExecutorService workers = Executors.newCachedThreadPool(daemon("sluice-sandbox"));
  private volatile boolean closed;
  private volatile String pythonVersion = "";

  private BubblewrapRunner(SandboxOptions options, Jail jail) {
    this.options = options;
    this.jail = jail;
  }

  /** The same with {@link SandboxOptions#defaults()}. */
  public static BubblewrapRunner open() {
    return open(SandboxOptions.defaults());
  }

  /**
   * Makes the sandbox and tries it: programs that attempt what must be impossible.
   *
   * @throws SandboxUnavailableException when there is none here, or it lets something through; the
   *     message says why and what helps. There is no way to run programs without it.
   */
  public static BubblewrapRunner open(SandboxOptions options) {
    check(options.bubblewrap(), "apt-get install bubblewrap");
    check(options.python(), "apt-get install python3");
    BubblewrapRunner runner;
    try {
      runner = new BubblewrapRunner(options, new Jail(options));
    } catch (IOException e) {
      throw new SandboxUnavailableException(
          "the sandbox has no folder for its files: " + e.getMessage()
              + " (remedy: make java.io.tmpdir a folder that can be written)", e);
    }
    try {
      SelfTest.run(runner, runner.jail.canary());
    } catch (RuntimeException e) {
      runner.close();
      throw e;
    }
    return runner;
  }

  private static void check(Path program, String remedy) {
    if (!Files.isExecutable(program)) {
      throw new SandboxUnavailableException(
          "the sandbox needs " + program + ", which is not there (remedy: " + remedy + "; or "
              + ELSEWHERE + ")");
    }
  }

  /** Version of the interpreter, as {@code 3.11.2}. */
  public String pythonVersion() {
    return pythonVersion;
  }

  /** How long a program may run, in seconds. */
  public double limitSeconds() {
    return options.limitSeconds();
  }

  /**
   * Runs a program to its end or its deadline. Its {@link Verdict#seconds} are its own, without the
   * start of the interpreter.
   *
   * @param program source text
   * @throws SandboxUnavailableException when the sandbox works no longer
   * @throws EvalException when this thread is interrupted or the runner closed
   */
  @Override
  public Verdict run(String program) {
    List<String> flags = SourceFlags.of(program);
    byte[] source = program.getBytes(StandardCharsets.UTF_8);
    if (source.length > MOST_SOURCE) {
      return new Verdict(
          Outcome.REFUSED, source.length + " bytes of source (at most " + MOST_SOURCE + ")", 0,
          flags);
    }
    if (program.indexOf('\0') >= 0) {
      return new Verdict(Outcome.REFUSED, "a NUL character in the source", 0, flags);
    }
    SandboxedProcess process = new SandboxedProcess(jail, timers, options.limitSeconds());
    Future<Verdict> verdict = submitted(() -> judged(process, source, flags));
    try {
      return verdict.get();
    } catch (InterruptedException e) {
      process.cancel();
      ended(verdict);
      Thread.currentThread().interrupt();
      throw new EvalException("interrupted while a program ran; it was ended", e);
    } catch (ExecutionException e) {
      if (e.getCause() instanceof EvalException) {
        throw (EvalException) e.getCause();
      }
      throw new EvalException("the sandbox failed: " + e.getCause(), e.getCause());
    }
  }

  // Waits for what is ending already, so that it is gone when the caller goes on.
  private static void ended(Future<Verdict> verdict) {
    try {
      verdict.get(CLOSE_SECONDS, TimeUnit.SECONDS);
    } catch (InterruptedException | ExecutionException | TimeoutException e) {
      // Interrupted once more, or ended.
    }
  }

  private Future<Verdict> submitted(Callable<Verdict> work) {
    try {
      return workers.submit(work);
    } catch (RejectedExecutionException e) {
      throw closed(e);
    }
  }

  private Verdict judged(SandboxedProcess process, byte[] source, List<String> flags)
      throws InterruptedException {
    byte[] random = new byte[16];
    RANDOM.nextBytes(random);
    String nonce = HexFormat.of().formatHex(random);
    byte[] head = (nonce + "\n").getBytes(StandardCharsets.US_ASCII);
    byte[] input = ByteBuffer.allocate(head.length + source.length).put(head).put(source).array();
    running.add(process);
    try {
      if (closed) {
        process.cancel();
      }
      SandboxedProcess.End end =
          process.run(input, (nonce + " ready ").getBytes(StandardCharsets.US_ASCII));
      if (!end.began()) {
        throw new SandboxUnavailableException(Remedies.of(end));
      }
      return verdict(nonce, end, flags);
    } catch (IOException e) {
      throw new SandboxUnavailableException("the sandbox cannot be started: " + e.getMessage(), e);
    } catch (CancellationException e) {
      throw closed(e);
    } finally {
      running.remove(process);
    }
  }

  private Verdict verdict(String nonce, SandboxedProcess.End end, List<String> flags) {
    String[] lines = end.output().split("\n", -1);
    String first = lines[0].substring(nonce.length() + " ready ".length());
    if (pythonVersion.isEmpty()) {
      pythonVersion = first;
    }
    // One line, whole, and nothing behind it: all else is not the interpreter's.
    if (!end.tooMuch() && lines.length == 3 && lines[2].isEmpty()) {
      String[] words = lines[1].split(" ", 4);
      if (words.length >= 3 && words[0].equals(nonce)) {
        String detail = words.length == 4 ? shown(words[3]) : "";
        double seconds = seconds(words[2]);
        switch (words[1]) {
          case "passed":
            return new Verdict(Outcome.PASSED, "", seconds, flags);
          case "failed":
            return new Verdict(Outcome.FAILED, detail, seconds, flags);
          case "late":
            return late(flags);
          default:
            break;
        }
      }
    }
    if (end.tooMuch()) {
      return new Verdict(
          Outcome.FAILED,
          "more than " + SandboxedProcess.MOST_OUTPUT + " bytes where its verdict goes", 0, flags);
    }
    return end.late()
        ? late(flags)
        : new Verdict(
            Outcome.FAILED, "ended with status " + end.status() + " before its verdict", 0, flags);
  }

  private Verdict late(List<String> flags) {
    return new Verdict(Outcome.TIMED_OUT, "timed out", options.limitSeconds(), flags);
  }

  // Addresses differ from run to run.
  private static String shown(String detail) {
    return ADDRESS.matcher(detail.strip()).replaceAll("0x...").replaceAll("\\p{Cntrl}", "?");
  }

  private static double seconds(String text) {
    try {
      return Double.parseDouble(text);
    } catch (NumberFormatException e) {
      return 0;
    }
  }

  /** Ends the programs that run; their callers get an {@link EvalException}. Idempotent. */
  @Override
  public void close() {
    closed = true;
    workers.shutdown();
    running.forEach(SandboxedProcess::cancel);
    boolean interrupted = false;
    try {
      workers.awaitTermination(CLOSE_SECONDS, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      interrupted = true;
    }
    timers.shutdownNow();
    jail.close();
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private static EvalException closed(Exception e) {
    return new EvalException("the sandbox is closed (expected: one that is open)", e);
  }

  private static ThreadFactory daemon(String name) {
    return work -> {
      Thread thread = new Thread(work, name);
      thread.setDaemon(true);
      return thread;
    };
  }
}

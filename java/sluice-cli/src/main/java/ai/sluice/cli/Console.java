package ai.sluice.cli;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * What a command reads and writes: standard input for prompts, standard output for answers and
 * nothing else, standard error for everything said beside them. Always UTF-8, whatever the locale.
 */
final class Console {
  private final InputStream in;
  private final OutputStream out;
  private final PrintStream err;
  private final Map<String, String> environment;
  private final boolean interactive;
  private final boolean errTerminal;
  private boolean verbose;

  Console(
      InputStream in,
      OutputStream out,
      OutputStream err,
      Map<String, String> environment,
      boolean interactive,
      boolean errTerminal) {
    this.in = in;
    this.out = out;
    this.err = new PrintStream(err, true, StandardCharsets.UTF_8);
    this.environment = environment;
    this.interactive = interactive;
    this.errTerminal = errTerminal;
  }

  InputStream in() {
    return in;
  }

  PrintStream err() {
    return err;
  }

  /** Whether both standard input and output are a terminal. */
  boolean interactive() {
    return interactive;
  }

  /** Whether standard error is a terminal, so that a line may be redrawn. */
  boolean errTerminal() {
    return errTerminal;
  }

  /** Whether the user asked to be told what happens. */
  boolean verbose() {
    return verbose;
  }

  void setVerbose(boolean value) {
    verbose = value;
  }

  /**
   * Under {@code --verbose}: says on standard error that a phase is over, with the time since the
   * process began, so that anyone can see where a start went.
   */
  void mark(String phase) {
    if (verbose) {
      long millis =
          ProcessHandle.current()
              .info()
              .startInstant()
              .map(start -> Duration.between(start, Instant.now()).toMillis())
              .orElse(0L);
      err.printf(Locale.ROOT, "[%.2f s] %s%n", millis / 1e3, phase);
    }
  }

  Map<String, String> environment() {
    return environment;
  }

  /** An environment variable; empty counts as unset. */
  Optional<String> environment(String name) {
    return Optional.ofNullable(environment.get(name)).filter(value -> !value.isEmpty());
  }

  /** The user's home folder. */
  Path home() {
    return Path.of(environment("HOME").orElseGet(() -> System.getProperty("user.home")));
  }

  /**
   * Writes to standard output and flushes, since an answer is read as it comes.
   *
   * @throws OutputClosedException if nobody reads it any more
   * @throws CommandException if it cannot be written, for example to a full disk
   */
  void print(String text) {
    try {
      out.write(text.getBytes(StandardCharsets.UTF_8));
      out.flush();
    } catch (IOException e) {
      String reason = String.valueOf(e.getMessage());
      if (reason.contains("Broken pipe") || reason.contains("Pipe closed")) {
        throw new OutputClosedException();
      }
      throw new CommandException("standard output: " + reason, e);
    }
  }

  /** {@link #print} with a line end. */
  void println(String text) {
    print(text + "\n");
  }

  /** Whether a standard stream of this process is a terminal; descriptor 0, 1 or 2. */
  static boolean isTerminal(int descriptor) {
    try {
      String target = Files.readSymbolicLink(Path.of("/proc/self/fd/" + descriptor)).toString();
      return target.startsWith("/dev/pts/")
          || target.startsWith("/dev/tty")
          || target.equals("/dev/console");
    } catch (IOException | UnsupportedOperationException e) {
      // No /proc: Java itself only knows whether input and output both are terminals.
      return System.console() != null;
    }
  }

  /** Thrown when the reader of standard output has gone, as {@code head} does; ends in silence. */
  static final class OutputClosedException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    OutputClosedException() {
      super("standard output is closed", null, false, false);
    }
  }
}

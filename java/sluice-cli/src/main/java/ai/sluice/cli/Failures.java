package ai.sluice.cli;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.SluiceException;
import ai.sluice.eval.EvalException;
import ai.sluice.eval.data.PinnedFiles;
import java.io.UncheckedIOException;
import picocli.CommandLine;
import picocli.CommandLine.IExecutionExceptionHandler;
import picocli.CommandLine.IParameterExceptionHandler;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.TypeConversionException;
import picocli.CommandLine.UnmatchedArgumentException;

/** Turns whatever went wrong into one line on standard error and an exit code. */
final class Failures implements IParameterExceptionHandler, IExecutionExceptionHandler {
  /** The command did its work. */
  static final int OK = 0;

  /** The command could not do its work, or its verdict is no. */
  static final int FAILED = 1;

  /** An argument is wrong, or a value cannot be served. */
  static final int WRONG_USAGE = 2;

  /** The user ended the command before its work was done: 128 + SIGINT. */
  static final int INTERRUPTED = 130;

  /** Standard output was closed by its reader: 128 + SIGPIPE, as other programs end then. */
  static final int OUTPUT_CLOSED = 141;

  private final Console console;
  private final boolean verbose;

  Failures(Console console, boolean verbose) {
    this.console = console;
    this.verbose = verbose;
  }

  @Override
  public int handleParseException(ParameterException e, String[] args) {
    CommandLine command = e.getCommandLine();
    String line;
    if (e.getCause() instanceof TypeConversionException cause
        && e.getArgSpec() instanceof OptionSpec option) {
      line = option.longestName() + ": " + cause.getMessage();
    } else if (e instanceof UnmatchedArgumentException unmatched) {
      line = unmatched(unmatched);
    } else {
      line = String.valueOf(e.getMessage());
    }
    say(line + "; see '" + command.getCommandSpec().qualifiedName() + " --help'");
    trace(e);
    return WRONG_USAGE;
  }

  private static String unmatched(UnmatchedArgumentException e) {
    String argument = e.getUnmatched().get(0);
    boolean option = argument.startsWith("-") && argument.length() > 1;
    boolean root = e.getCommandLine().getParent() == null;
    String kind = option ? "unknown option" : root ? "unknown command" : "one argument too many";
    String suggestion =
        e.getSuggestions().stream()
            .min(java.util.Comparator.comparingInt(s -> distance(argument, s)))
            .map(s -> " (did you mean " + s + "?)")
            .orElse("");
    return argument + ": " + kind + suggestion;
  }

  /** Characters to insert, remove or replace to make one word of the other. */
  private static int distance(String a, String b) {
    int[] row = new int[b.length() + 1];
    for (int j = 0; j <= b.length(); j++) {
      row[j] = j;
    }
    for (int i = 1; i <= a.length(); i++) {
      int diagonal = row[0];
      row[0] = i;
      for (int j = 1; j <= b.length(); j++) {
        int replaced = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
        diagonal = row[j];
        row[j] = Math.min(replaced, 1 + Math.min(row[j], row[j - 1]));
      }
    }
    return row[b.length()];
  }

  @Override
  public int handleExecutionException(
      Exception e, CommandLine commandLine, ParseResult parseResult) {
    return handle(e);
  }

  /** Says what went wrong and returns the exit code. */
  int handle(Throwable e) {
    if (e instanceof Console.OutputClosedException) {
      return OUTPUT_CLOSED;
    }
    say(line(e));
    trace(e);
    return e instanceof InvalidRequestException ? WRONG_USAGE : FAILED;
  }

  /** What a failure says in one line. */
  static String line(Throwable e) {
    if (e instanceof SluiceException
        || e instanceof CommandException
        || e instanceof EvalException) {
      return String.valueOf(e.getMessage());
    }
    if (e instanceof UncheckedIOException io) {
      return PinnedFiles.reason(io.getCause());
    }
    if (e instanceof OutOfMemoryError) {
      return "Java heap: " + e.getMessage() + " (expected: room for this; raise -Xmx)";
    }
    return "defect: " + e + " (this is an error of Sluice itself; please report it with the output"
        + " of the same command and --verbose)";
  }

  private void say(String message) {
    // One line, whatever a message carries: scripts and logs read it by lines.
    String line = message.strip().replaceAll(":\\s*\\R\\s*", ": ").replaceAll("\\s*\\R\\s*", "; ");
    console.err().println("sluice: " + line);
  }

  private void trace(Throwable e) {
    if (verbose) {
      e.printStackTrace(console.err());
    }
  }
}

package ai.sluice.cli;

import ai.sluice.jni.NativeLibrary;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import picocli.CommandLine;

/** Entry point of the command line. */
public final class Main {
  private static final int HELP_WIDTH = 96;

  /** Commands whose first token somebody waits for. */
  private static final Set<String> ANSWERING = Set.of("generate", "chat", "classify");

  /** Commands in the order of the help text. */
  private static final Map<String, Function<Console, Object>> COMMANDS = new LinkedHashMap<>();

  static {
    COMMANDS.put("generate", GenerateCommand::new);
    COMMANDS.put("chat", ChatCommand::new);
    COMMANDS.put("classify", ClassifyCommand::new);
    COMMANDS.put("batch", BatchCommand::new);
    COMMANDS.put("pull", PullCommand::new);
    COMMANDS.put("models", ModelsCommand::new);
    COMMANDS.put("inspect", InspectCommand::new);
    COMMANDS.put("verify", VerifyCommand::new);
    COMMANDS.put("bench", BenchCommand::new);
    COMMANDS.put("eval", EvalCommand::of);
    COMMANDS.put("soak", SoakCommand::new);
    COMMANDS.put("doctor", DoctorCommand::new);
  }

  private Main() {}

  /** Runs a command and exits with its code. */
  public static void main(String[] args) {
    Console console =
        new Console(
            System.in,
            new FileOutputStream(FileDescriptor.out),
            new FileOutputStream(FileDescriptor.err),
            System.getenv(),
            Console.isTerminal(0) && Console.isTerminal(1),
            Console.isTerminal(2));
    configureLogging(isVerbose(args));
    if (args.length > 0 && ANSWERING.contains(args[0])) {
      loadNativesAhead();
    }
    int code;
    try {
      code = run(Arguments.decode(args), console);
    } catch (Throwable e) {
      code = new Failures(console, isVerbose(args)).handle(e);
    }
    System.exit(code);
  }

  /**
   * Loads the native libraries while the arguments are read, which takes about as long: the start
   * of an answer then uses both cores. A failure is met again, and told, by whoever needs them.
   */
  private static void loadNativesAhead() {
    Thread thread =
        new Thread(
            () -> {
              try {
                NativeLibrary.systemInfo();
              } catch (Throwable e) {
                // Kept by the loader, and thrown again when the engine opens.
              }
            },
            "sluice-natives");
    thread.setDaemon(true);
    thread.start();
  }

  /**
   * Runs a command without touching the process's own streams.
   *
   * @param args the command and its arguments
   * @param in what the command reads
   * @param out where answers go, in UTF-8
   * @param err where everything else goes, in UTF-8
   * @return the exit code: 0 done, 1 failed, 2 wrong usage or value, 130 interrupted, 141 output
   *     closed
   */
  public static int run(String[] args, InputStream in, OutputStream out, OutputStream err) {
    return run(args, new Console(in, out, err, System.getenv(), false, false));
  }

  static int run(String[] args, Console console) {
    boolean verbose = isVerbose(args);
    console.setVerbose(verbose);
    Failures failures = new Failures(console, verbose);
    try {
      // Gathered, because picocli would print a stack trace if the console refused it.
      StringWriter help = new StringWriter();
      int code =
          commandLine(args, console)
              .setParameterExceptionHandler(failures)
              .setExecutionExceptionHandler(failures)
              .setOut(new PrintWriter(help))
              .setErr(new PrintWriter(console.err(), true, StandardCharsets.UTF_8))
              .setUsageHelpAutoWidth(false)
              .setUsageHelpWidth(HELP_WIDTH)
              .execute(args);
      console.print(help.toString());
      return code;
    } catch (Throwable e) {
      // Errors too, such as a stack overflow: a stack trace is for --verbose.
      return failures.handle(e);
    }
  }

  /** Asked before the arguments are parsed, since parsing may be what fails. */
  private static boolean isVerbose(String[] args) {
    List<String> options = Arrays.asList(args);
    int end = options.indexOf("--");
    return options.subList(0, end < 0 ? args.length : end).contains("--verbose");
  }

  /** Builds only the command that is asked for: reading the others' annotations costs start-up. */
  private static CommandLine commandLine(String[] args, Console console) {
    CommandLine root = new CommandLine(new RootCommand(console));
    Optional<String> asked =
        Arrays.stream(args).filter(arg -> !arg.startsWith("-")).findFirst();
    if (asked.isPresent() && COMMANDS.containsKey(asked.get())) {
      root.addSubcommand(asked.get(), COMMANDS.get(asked.get()).apply(console));
    } else {
      COMMANDS.forEach((name, command) -> root.addSubcommand(name, command.apply(console)));
    }
    Values.register(root);
    // The last one of a repeated option counts, so that a shell alias can be overruled; picocli
    // would warn about it on standard error.
    CommandLine.tracer().setLevel(CommandLine.TraceLevel.OFF);
    return root.setOverwrittenOptionsAllowed(true);
  }

  /** Before the first logger exists. A user's own settings win. */
  private static void configureLogging(boolean verbose) {
    String level = "org.slf4j.simpleLogger.defaultLogLevel";
    if (verbose && System.getProperty(level) == null) {
      System.setProperty(level, "info");
    }
  }
}

package ai.sluice.cli;

import java.io.IOException;
import java.io.InputStream;
import java.util.Properties;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Option;
import picocli.CommandLine.ScopeType;

/** What {@code sluice} alone does, and the options that every command has. */
@Command(
    name = "sluice",
    mixinStandardHelpOptions = true,
    scope = ScopeType.INHERIT,
    versionProvider = RootCommand.Version.class,
    usageHelpAutoWidth = false,
    synopsisSubcommandLabel = "COMMAND",
    description = "Runs language models on this machine.",
    footer = {
      "",
      "Examples:",
      "  sluice generate \"Why is the sky blue?\"",
      "  sluice chat",
      "  sluice bench SmolLM2-135M-Instruct",
      "",
      "'sluice COMMAND --help' says more about a command."
    })
final class RootCommand implements Callable<Integer> {
  private final Console console;

  @Option(
      names = "--verbose",
      scope = ScopeType.INHERIT,
      description = "Say what happens, with stack traces of errors.")
  boolean verbose;

  RootCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    console.print(
        """
        sluice runs language models on this machine.

          sluice generate "Why is the sky blue?"   answer one prompt
          sluice chat                              talk with the model
          sluice --help                            all commands
        """);
    return Failures.OK;
  }

  /** The version that the build wrote into the jar. */
  static final class Version implements IVersionProvider {
    @Override
    public String[] getVersion() {
      return new String[] {"sluice " + version()};
    }

    static String version() {
      Properties properties = new Properties();
      try (InputStream in = RootCommand.class.getResourceAsStream("version.properties")) {
        if (in == null) {
          throw new IllegalStateException("version.properties is missing from the jar");
        }
        properties.load(in);
      } catch (IOException e) {
        throw new IllegalStateException("version.properties cannot be read", e);
      }
      return properties.getProperty("version");
    }
  }
}

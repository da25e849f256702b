package ai.sluice.cli;

import java.io.File;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/** Command lines that run the CLI in a JVM of its own, with the classes under test. */
final class ChildJvm {
  private ChildJvm() {}

  /**
   * A command line.
   *
   * @param options of the JVM, beside those that every run has
   * @param arguments of the CLI
   */
  static List<String> command(List<String> options, List<String> arguments) {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(
        List.of(
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Dorg.bytedeco.javacpp.noPointerGC=true",
            "-Dai.djl.offline=true",
            "-Dsluice.library.path=" + System.getProperty("sluice.library.path")));
    command.addAll(options);
    // The tests run on the module path; the child needs the classes alone.
    Stream.of("jdk.module.path", "java.class.path")
        .map(System::getProperty)
        .filter(path -> path != null && !path.isEmpty())
        .reduce((a, b) -> a + File.pathSeparator + b)
        .ifPresent(path -> command.addAll(List.of("-cp", path)));
    command.add("ai.sluice.cli.Main");
    command.addAll(arguments);
    return command;
  }
}

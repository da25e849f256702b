package ai.sluice.cli;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/** What a command answered. */
record CliRun(int code, String out, String err) {
  /** Runs a command with an empty home folder. */
  static CliRun of(Path home, String... args) {
    return of(home, Map.of(), new byte[0], args);
  }

  static CliRun of(Path home, Map<String, String> environment, byte[] in, String... args) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    Map<String, String> all = new HashMap<>(Map.of("HOME", home.toString(), "PATH", ""));
    all.putAll(environment);
    Console console =
        new Console(new ByteArrayInputStream(in), out, err, all, false, false);
    int code = Main.run(args, console);
    return new CliRun(
        code, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
  }

  /** Lines of standard error. */
  long errLines() {
    return err.lines().count();
  }
}

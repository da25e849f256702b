package ai.sluice.checkpoint;

import java.nio.file.Files;
import java.nio.file.Path;

/** Finds the parity fixtures of the repository, wherever a test is started from. */
final class Fixtures {
  private Fixtures() {}

  /** The folder of one fixture. */
  static Path folder(String name) {
    for (Path at = Path.of("").toAbsolutePath(); at != null; at = at.getParent()) {
      Path candidate = at.resolve("tests/golden/fixtures").resolve(name);
      if (Files.isDirectory(candidate)) {
        return candidate;
      }
    }
    throw new IllegalStateException("tests/golden/fixtures/" + name + " not found");
  }
}

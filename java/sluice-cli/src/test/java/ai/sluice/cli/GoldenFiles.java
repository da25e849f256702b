package ai.sluice.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/** Finds the repository's golden files, wherever a test is started from. */
final class GoldenFiles {
  private GoldenFiles() {}

  /** A random model of a few kilobytes that answers chat messages. */
  static final Path TINY_CHAT = find("tiny_chat.gguf");

  /** A parity fixture's folder. */
  static Path fixture(String name) {
    return find("fixtures/" + name);
  }

  /** All parity fixtures. */
  static List<Path> fixtures() throws IOException {
    try (Stream<Path> folders = Files.list(find("fixtures"))) {
      return folders.filter(Files::isDirectory).sorted().toList();
    }
  }

  private static Path find(String name) {
    for (Path at = Path.of("").toAbsolutePath(); at != null; at = at.getParent()) {
      Path candidate = at.resolve("tests/golden").resolve(name);
      if (Files.exists(candidate)) {
        return candidate;
      }
    }
    throw new IllegalStateException("tests/golden/" + name + " not found");
  }
}

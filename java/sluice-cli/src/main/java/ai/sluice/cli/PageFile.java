package ai.sluice.cli;

import ai.sluice.api.InvalidRequestException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;

/** A file that a command writes for people, in the form that its name ends with. */
record PageFile(Path path) {
  /**
   * Checks its name and folder, before any work.
   *
   * @throws InvalidRequestException if it has none of these endings
   * @throws CommandException if there is no such folder
   */
  static PageFile of(Path path, String... endings) {
    if (List.of(endings).stream().noneMatch(path.toString()::endsWith)) {
      throw new InvalidRequestException(
          "--out: " + path + " (expected: a name that ends in " + String.join(" or ", endings)
              + ")");
    }
    Path folder = path.toAbsolutePath().getParent();
    if (folder == null || !Files.isDirectory(folder)) {
      throw new CommandException(
          "--out " + path + ": no such folder (remedy: mkdir -p " + folder + ")");
    }
    return new PageFile(path.toAbsolutePath());
  }

  boolean isHtml() {
    return path.toString().endsWith(".html");
  }

  /** Replaces the file at once, and says where it is. */
  void write(Console console, String text) {
    try {
      Path part = path.resolveSibling(path.getFileName() + ".part");
      try {
        Files.writeString(part, text);
        Files.move(part, path, StandardCopyOption.REPLACE_EXISTING);
      } finally {
        Files.deleteIfExists(part);
      }
    } catch (IOException e) {
      throw new CommandException("--out " + path + ": not written: " + e, e);
    }
    console.err().println("written: " + path);
  }
}

package ai.sluice.eval;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.data.PinnedFiles;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * SHA-256 of files. Those of weights are kept in a folder, under the file's path with its size, the
 * times of its last changes and its inode, so that a file is read once. Thread-safe.
 */
public final class FileHashes {
  private final Optional<Path> cache;

  /**
   * Creates it.
   *
   * @param cache folder where hashes are kept; empty: every file is read each time
   */
  public FileHashes(Optional<Path> cache) {
    this.cache = cache;
  }

  /**
   * Of one file as {@code sha256sum} gives it; of several, of what {@code sha256sum} prints for
   * them, named without their folder.
   *
   * @param files at least one
   * @throws InvalidRequestException when one cannot be read
   */
  public String of(List<Path> files) {
    if (files.size() == 1) {
      return of(files.get(0));
    }
    StringBuilder list = new StringBuilder();
    for (Path file : files) {
      list.append(of(file)).append("  ").append(file.getFileName()).append('\n');
    }
    return ofText(list.toString());
  }

  /** Of a text in UTF-8. */
  static String ofText(String text) {
    return HexFormat.of().formatHex(PinnedFiles.newSha256().digest(text.getBytes(StandardCharsets.UTF_8)));
  }

  /** The files that are a model: one file, or a folder's settings and weights by name. */
  static List<Path> ofModel(Path model) {
    if (!Files.isDirectory(model)) {
      return List.of(model);
    }
    try (Stream<Path> files = Files.list(model)) {
      return files
          .filter(
              file ->
                  file.toString().endsWith(".safetensors")
                      || file.toString().endsWith(".gguf")
                      || file.endsWith("config.json"))
          .sorted()
          .toList();
    } catch (IOException e) {
      throw unreadable(model, e);
    }
  }

  private String of(Path file) {
    try {
      Optional<Path> entry = cache.map(folder -> folder.resolve(ofText(name(file))));
      String state = state(file);
      if (entry.isPresent() && Files.exists(entry.get())) {
        String kept = Files.readString(entry.get());
        if (kept.startsWith(state + "\n")) {
          return kept.substring(state.length() + 1);
        }
      }
      String hash = PinnedFiles.sha256(file);
      // A file that changes while it is read has no hash worth keeping.
      if (entry.isPresent() && state.equals(state(file))) {
        keep(entry.get(), state + "\n" + hash);
      }
      return hash;
    } catch (IOException e) {
      throw unreadable(file, e);
    }
  }

  private static String name(Path file) {
    return file.toAbsolutePath().normalize().toString();
  }

  private static String state(Path file) throws IOException {
    Map<String, Object> known =
        file.getFileSystem().supportedFileAttributeViews().contains("unix")
            ? Files.readAttributes(file, "unix:size,lastModifiedTime,ctime,ino")
            : Files.readAttributes(file, "size,lastModifiedTime");
    return known.entrySet().stream()
        .sorted(Map.Entry.comparingByKey())
        .map(one -> one.getKey() + "=" + one.getValue())
        .reduce((a, b) -> a + " " + b)
        .orElseThrow();
  }

  // A cache that cannot be written costs time, and nothing else.
  private static void keep(Path entry, String text) {
    try {
      Path folder = Files.createDirectories(entry.toAbsolutePath().getParent());
      Path part = Files.createTempFile(folder, "hash", ".part");
      try {
        Files.writeString(part, text);
        Files.move(part, entry, StandardCopyOption.REPLACE_EXISTING);
      } finally {
        Files.deleteIfExists(part);
      }
    } catch (IOException e) {
      System.getLogger(FileHashes.class.getName())
          .log(System.Logger.Level.DEBUG, "hash not kept", e);
    }
  }

  private static InvalidRequestException unreadable(Path file, IOException e) {
    return new InvalidRequestException(
        file + ": cannot be read: " + e.getMessage() + " (expected: a file to hash)", e);
  }
}

package ai.sluice.eval.data;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** What every fetch of pinned files needs, models as well as data sets. */
public final class PinnedFiles {
  private static final int BUFFER_BYTES = 1 << 16;

  private PinnedFiles() {}

  /** A new SHA-256. */
  public static MessageDigest newSha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java platform has SHA-256", e);
    }
  }

  /** The SHA-256 of a file as lower-case hexadecimal. */
  public static String sha256(Path file) throws IOException {
    try (InputStream in = Files.newInputStream(file)) {
      return sha256(in);
    }
  }

  /** The SHA-256 of all that is left of a stream. */
  static String sha256(InputStream in) throws IOException {
    MessageDigest digest = newSha256();
    byte[] buffer = new byte[BUFFER_BYTES];
    for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
      digest.update(buffer, 0, n);
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  /** Deletes a folder with all in it, or a file; nothing where neither is. */
  public static void deleteTree(Path folder) throws IOException {
    List<Path> paths = new ArrayList<>();
    try (Stream<Path> walk = Files.walk(folder)) {
      walk.forEach(paths::add);
    } catch (NoSuchFileException e) {
      return;
    }
    paths.sort(Comparator.reverseOrder());
    for (Path path : paths) {
      Files.deleteIfExists(path);
    }
  }

  /** File-system exceptions carry only the path as their message; the class says what happened. */
  public static String reason(IOException e) {
    @Nullable String message = e.getMessage();
    String kind = e.getClass().getSimpleName();
    if (e instanceof FileSystemException f) {
      @Nullable String why = f.getReason();
      return f.getFile() + ": " + (why == null ? kind.replace("Exception", "") : why);
    }
    return message == null ? kind : message;
  }
}

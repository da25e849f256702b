package ai.sluice.jni;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The user's cache of extracted libraries: {@code <cache>/sluice/natives/<sha256>/<name>}, where
 * {@code <cache>} is {@code $XDG_CACHE_HOME} or {@code ~/.cache}.
 *
 * <p>The folder's name is the hash of the content, so versions never meet. Folders belong to the
 * user alone (mode 0700; a folder of somebody else is refused), files appear by an atomic rename,
 * and each use checks the hash again, so that several processes may start at once and a damaged file
 * is replaced.
 */
final class NativeCache {
  private static final Set<PosixFilePermission> OWNER_ONLY =
      PosixFilePermissions.fromString("rwx------");
  private static final FileAttribute<Set<PosixFilePermission>> OWNER_ONLY_ATTRIBUTE =
      PosixFilePermissions.asFileAttribute(OWNER_ONLY);

  private final Path root;
  private final List<String> tried;

  /**
   * Creates a view of a cache.
   *
   * @param root the folder under which every version lies; it need not exist
   * @param tried receives a line for each failure
   */
  NativeCache(Path root, List<String> tried) {
    this.root = root;
    this.tried = tried;
  }

  /** The folder of this user's cache. */
  static Path userRoot() {
    String cache = System.getenv("XDG_CACHE_HOME");
    if (cache != null && Path.of(cache).isAbsolute()) {
      return Path.of(cache, "sluice", "natives");
    }
    String home = System.getenv("HOME");
    if (home == null || !Path.of(home).isAbsolute()) {
      home = System.getProperty("user.home");
    }
    return Path.of(home, ".cache", "sluice", "natives");
  }

  /**
   * Makes a library available as a file.
   *
   * @param name file name
   * @param sha256 hash of its content, in lower-case hexadecimal digits
   * @param source where its bytes come from when the cache lacks them
   * @return the file, or null when it cannot be had; the reasons are then in {@code tried}
   */
  @Nullable Path extract(String name, String sha256, ResourceLookup.Found source) {
    Path folder = root.resolve(sha256);
    Path file = folder.resolve(name);
    try {
      if (Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS) && isOwn(folder)
          && hash(file).equals(sha256)) {
        return file;
      }
      createPrivateFolder(folder);
      Path temporary = Files.createTempFile(folder, name + ".", ".tmp", OWNER_ONLY_ATTRIBUTE);
      try {
        String copied = copy(source, temporary);
        if (!copied.equals(sha256)) {
          tried.add(source.origin() + ": SHA-256 " + copied + " (expected: " + sha256
              + "; remedy: download the jar again, or use the version that sluice-bom names)");
          return null;
        }
        Files.move(
            temporary, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      } finally {
        Files.deleteIfExists(temporary);
      }
      return file;
    } catch (IOException e) {
      tried.add(file + ": " + e);
      return null;
    }
  }

  private void createPrivateFolder(Path folder) throws IOException {
    Files.createDirectories(root);
    Files.createDirectories(folder, OWNER_ONLY_ATTRIBUTE);
    if (!isOwn(folder)) {
      throw new IOException(
          folder + ": belongs to another user or is open to others (expected: mode 0700, owner "
              + System.getProperty("user.name") + "; remedy: remove it)");
    }
  }

  /** Whether only this user can change what lies in the folder. */
  private static boolean isOwn(Path folder) throws IOException {
    PosixFileAttributes attributes =
        Files.readAttributes(folder, PosixFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
    return attributes.isDirectory()
        && OWNER_ONLY.containsAll(attributes.permissions())
        && Files.getAttribute(folder, "unix:uid", LinkOption.NOFOLLOW_LINKS)
            .equals(Files.getAttribute(Path.of("/proc/self"), "unix:uid"));
  }

  private static String copy(ResourceLookup.Found source, Path target) throws IOException {
    MessageDigest digest = sha256();
    try (InputStream in = source.open();
        OutputStream out = Files.newOutputStream(target)) {
      new DigestInputStream(in, digest).transferTo(out);
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  private static String hash(Path file) throws IOException {
    MessageDigest digest = sha256();
    byte[] chunk = new byte[1 << 18];
    try (InputStream in = Files.newInputStream(file)) {
      for (int read = in.read(chunk); read >= 0; read = in.read(chunk)) {
        digest.update(chunk, 0, read);
      }
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("SHA-256: every Java platform has it", e);
    }
  }
}

package ai.sluice.text;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import ai.sluice.api.NativeLoadException;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Loads the native tokenizer library on first use.
 *
 * <p>DJL's own loader looks for CUDA, may download a library and reports the machine to its makers.
 * It is never initialised here: the binding class {@link TokenizersLibrary} declares native methods
 * and nothing else, so the library packed in the same jar is extracted, checked against the hash
 * below and loaded without DJL's help. No environment variable or property can change the flavour.
 *
 * <p>Places, in order: the folders of {@code -Dsluice.library.path}; the user's cache, {@code
 * $XDG_CACHE_HOME/sluice/natives/<sha256>} or {@code ~/.cache/sluice/natives/<sha256>}; a fresh
 * folder of {@code java.io.tmpdir} where the cache cannot be written.
 */
final class NativeTokenizers {
  private static final Logger log = LoggerFactory.getLogger(NativeTokenizers.class);

  private static final Set<PosixFilePermission> OWNER_ONLY =
      PosixFilePermissions.fromString("rwx------");

  /** Platform of the binding's jar and the hash of its CPU library; moves with the version. */
  enum Packed {
    LINUX_X86_64(
        "linux-x86_64",
        "libtokenizers.so",
        "edf58c92155e0fe4fae5231e782a1f02deeb5881de7bbcd1195f6e25009da90a"),
    LINUX_AARCH64(
        "linux-aarch64",
        "libtokenizers.so",
        "2561672dc37df2704e29eab4049bcfceee5332799bc3b9d85f7d70045b99a610"),
    MACOS_AARCH64(
        "osx-aarch64",
        "libtokenizers.dylib",
        "cca1c15bcbfa47b1c942e9d395ea8353161e5ed709f74826ad5faebcd05544ab");

    final String folder;
    final String fileName;
    final String sha256;

    Packed(String folder, String fileName, String sha256) {
      this.folder = folder;
      this.fileName = fileName;
      this.sha256 = sha256;
    }

    String resource() {
      return "native/lib/" + folder + "/cpu/" + fileName;
    }
  }

  /** The class holder: its initialisation is the load, so the JVM makes it happen once. */
  private static final class Holder {
    static final TokenizersLibrary LIBRARY = load();
  }

  private NativeTokenizers() {}

  /**
   * The binding, its library loaded.
   *
   * @throws NativeLoadException if no library could be loaded, naming every place tried
   */
  static TokenizersLibrary library() {
    try {
      return Holder.LIBRARY;
    } catch (ExceptionInInitializerError e) {
      if (e.getCause() instanceof NativeLoadException cause) {
        throw cause;
      }
      throw e;
    } catch (NoClassDefFoundError e) {
      // The second and later attempts after a failure; the JVM keeps the first as the cause.
      throw new NativeLoadException(
          "tokenizers: the native library failed to load earlier in this process: "
              + (e.getCause() == null ? e.getMessage() : e.getCause().getMessage()),
          e);
    }
  }

  /** Starts loading on a thread of its own; a failure shows when {@link #library} is called. */
  static void preload() {
    Thread thread =
        new Thread(
            () -> {
              try {
                library();
              } catch (NativeLoadException e) {
                log.debug("tokenizers: loading ahead failed: {}", e.getMessage());
              }
            },
            "sluice-tokenizer-library");
    thread.setDaemon(true);
    thread.start();
  }

  private static TokenizersLibrary load() {
    Packed packed = packedFor(System.getProperty("os.name", ""), System.getProperty("os.arch", ""));
    List<String> tried = new ArrayList<>();
    Path library = overridden(packed, tried);
    if (library == null) {
      library = extracted(packed, tried);
    }
    try {
      System.load(library.toAbsolutePath().toString());
    } catch (UnsatisfiedLinkError e) {
      tried.add(library + ": " + e.getMessage());
      throw failure(tried, e);
    }
    log.debug("tokenizers: loaded {}", library);
    return TokenizersLibrary.LIB;
  }

  /** The library packed for a platform, by the values of os.name and os.arch. */
  static Packed packedFor(String osName, String osArch) {
    String os = osName.toLowerCase(Locale.ROOT);
    boolean x86 = osArch.equals("amd64") || osArch.equals("x86_64");
    boolean arm = osArch.equals("aarch64") || osArch.equals("arm64");
    if (os.startsWith("linux") && x86) {
      return Packed.LINUX_X86_64;
    }
    if (os.startsWith("linux") && arm) {
      return Packed.LINUX_AARCH64;
    }
    if (os.startsWith("mac") && arm) {
      return Packed.MACOS_AARCH64;
    }
    throw new NativeLoadException(
        "tokenizers: platform "
            + osName
            + " "
            + osArch
            + " (expected: Linux amd64, Linux aarch64 or macOS aarch64)");
  }

  private static @Nullable Path overridden(Packed packed, List<String> tried) {
    String folders = System.getProperty("sluice.library.path", "");
    for (String folder : folders.split(File.pathSeparator)) {
      if (!folder.isEmpty()) {
        Path library = Path.of(folder).resolve(packed.fileName);
        if (Files.isRegularFile(library)) {
          return library;
        }
        tried.add(library + ": no such file (sluice.library.path)");
      }
    }
    return null;
  }

  /**
   * The folder of the user's caches. A relative path says nothing about the user, so it is passed
   * over; so is what Java gives where there is no home folder, nothing or a question mark.
   *
   * @param xdg value of XDG_CACHE_HOME
   * @param homes values that may name the home folder, the first that does wins
   * @return the folder, or null if there is none
   */
  static @Nullable Path userCache(@Nullable String xdg, @Nullable String... homes) {
    if (xdg != null && Path.of(xdg).isAbsolute()) {
      return Path.of(xdg);
    }
    for (String home : homes) {
      if (home != null && Path.of(home).isAbsolute()) {
        return Path.of(home, ".cache");
      }
    }
    return null;
  }

  private static Path extracted(Packed packed, List<String> tried) {
    Path cache =
        userCache(
            System.getenv("XDG_CACHE_HOME"),
            System.getenv("HOME"),
            System.getProperty("user.home"));
    if (cache == null) {
      tried.add("the user's cache: neither XDG_CACHE_HOME, HOME nor user.home names a folder");
    } else {
      Path folder = cache.resolve("sluice").resolve("natives").resolve(packed.sha256);
      try {
        return extract(packed, folder);
      } catch (IOException e) {
        tried.add(folder + ": " + e);
      }
    }
    log.warn("tokenizers: the library goes into a temporary folder, because {}", tried);
    try {
      Path temporary = Files.createTempDirectory("sluice-tokenizers");
      temporary.toFile().deleteOnExit();
      Path library = extract(packed, temporary);
      library.toFile().deleteOnExit();
      return library;
    } catch (IOException e) {
      tried.add(System.getProperty("java.io.tmpdir") + ": " + e);
      throw failure(tried, e);
    }
  }

  /**
   * Puts the packed library into a folder unless it lies there already with the right contents. A
   * writer fills a file of its own and moves it into place, so that concurrent processes never see
   * half a library.
   *
   * @throws IOException if it cannot be written, or others could change what lies in the folder
   */
  static Path extract(Packed packed, Path folder) throws IOException {
    Path library = folder.resolve(packed.fileName);
    createPrivate(folder);
    if (Files.isRegularFile(library, LinkOption.NOFOLLOW_LINKS)
        && hash(library).equals(packed.sha256)) {
      return library;
    }
    Path partial = Files.createTempFile(folder, packed.fileName, ".part");
    try {
      byte[] contents;
      try (InputStream in =
          TokenizersLibrary.class.getClassLoader().getResourceAsStream(packed.resource())) {
        if (in == null) {
          throw new IOException(packed.resource() + ": not in the tokenizers jar");
        }
        contents = in.readAllBytes();
      }
      String hash = hash(contents);
      Files.write(partial, contents);
      if (!hash.equals(packed.sha256)) {
        throw new IOException(
            packed.resource()
                + ": sha256 "
                + hash
                + " (expected: "
                + packed.sha256
                + "; the jar on the class path is not the one that Sluice was built with)");
      }
      Files.move(
          partial, library, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      return library;
    } finally {
      Files.deleteIfExists(partial);
    }
  }

  private static void createPrivate(Path folder) throws IOException {
    if (!folder.getFileSystem().supportedFileAttributeViews().contains("posix")) {
      Files.createDirectories(folder);
      return;
    }
    Files.createDirectories(folder, PosixFilePermissions.asFileAttribute(OWNER_ONLY));
    PosixFileAttributes found =
        Files.readAttributes(folder, PosixFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
    if (!found.isDirectory()
        || !OWNER_ONLY.containsAll(found.permissions())
        || !uid(folder).equals(ownUid())) {
      throw new IOException(
          folder
              + ": belongs to another user or is open to others (expected: mode 0700, owner "
              + System.getProperty("user.name")
              + "; remedy: remove it)");
    }
  }

  private static Object uid(Path path) throws IOException {
    return Files.getAttribute(path, "unix:uid", LinkOption.NOFOLLOW_LINKS);
  }

  /** The user that this process runs as: names of users may be missing or ambiguous. */
  private static Object ownUid() throws IOException {
    Path self = Path.of("/proc/self");
    if (Files.exists(self)) {
      return Files.getAttribute(self, "unix:uid");
    }
    Path probe = Files.createTempFile("sluice", ".uid");
    try {
      return uid(probe);
    } finally {
      Files.delete(probe);
    }
  }

  private static String hash(Path file) throws IOException {
    return hash(Files.readAllBytes(file));
  }

  private static String hash(byte[] contents) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(contents));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("SHA-256 is part of every Java platform", e);
    }
  }

  private static NativeLoadException failure(List<String> tried, Throwable cause) {
    return new NativeLoadException(
        "tokenizers: no native library could be loaded; tried: "
            + String.join("; ", tried)
            + " (remedy: put the library into a folder and pass -Dsluice.library.path=FOLDER)",
        cause);
  }
}

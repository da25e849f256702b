package ai.sluice.jni;

import ai.sluice.api.NativeLoadException;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Finds the native libraries.
 *
 * <p>The folders of {@code -Dsluice.library.path} win over everything: when the property is set,
 * {@code libsluice.so} and {@code libjnisluice.so} must lie in one of them. Otherwise the libraries
 * come from the classifier jar, which holds an index with the SHA-256 of each file, of oneDNN's too
 * (that one comes from {@code org.bytedeco:dnnl}); they are copied into the user's cache once. Of two
 * such jars the one with the CUDA backend is taken; it has the CPU's too.
 */
final class NativeFiles {
  static final String LIBRARY_PATH = "sluice.library.path";
  static final String PLATFORM = platform();

  /** Builds of this platform, the preferred first; each is a classifier. */
  static final List<String> VARIANTS = List.of(PLATFORM + "-cuda13", PLATFORM);

  private static final String SLUICE = "libsluice.so";
  private static final String JNI = "libjnisluice.so";
  private static final String ONEDNN = "libdnnl.so.3";
  private static final String GOMP = "libgomp.so.1";

  private final List<Path> folders;
  private final List<String> tried = new ArrayList<>();
  private @Nullable Map<String, Entry> index;

  /** A line of the index. */
  private record Entry(String sha256, String resource) {}

  private NativeFiles(List<Path> folders) {
    this.folders = folders;
  }

  static NativeFiles locate() {
    String property = System.getProperty(LIBRARY_PATH, "");
    List<Path> folders = new ArrayList<>();
    for (String folder : property.split(File.pathSeparator)) {
      if (!folder.isEmpty()) {
        folders.add(Path.of(folder).toAbsolutePath());
      }
    }
    return new NativeFiles(List.copyOf(folders));
  }

  NativeFile sluice() {
    return required(SLUICE);
  }

  NativeFile jni() {
    return required(JNI);
  }

  /** oneDNN; may come from its jar even when the property names our own libraries. */
  NativeFile onednn() {
    return optional(ONEDNN);
  }

  NativeFile gomp() {
    return optional(GOMP);
  }

  /** Any file of our own; for tests. */
  NativeFile named(String name) {
    return required(name);
  }

  private NativeFile required(String name) {
    NativeFile found = inFolders(name);
    if (found != null) {
      return found;
    }
    if (!folders.isEmpty()) {
      throw missing(name, "remedy: correct -D" + LIBRARY_PATH + ", or leave it out");
    }
    return fromJars(name);
  }

  private NativeFile optional(String name) {
    NativeFile found = inFolders(name);
    return found != null ? found : fromJars(name);
  }

  private @Nullable NativeFile inFolders(String name) {
    for (Path folder : folders) {
      Path file = folder.resolve(name);
      if (Files.isRegularFile(file)) {
        return new NativeFile(file, "-D" + LIBRARY_PATH);
      }
      tried.add(file + ": no such file (-D" + LIBRARY_PATH + ")");
    }
    return null;
  }

  private NativeFile fromJars(String name) {
    Entry entry = index(name).get(name);
    if (entry == null) {
      tried.add("natives.sha256: does not list " + name);
      throw missing(name, remedy());
    }
    ResourceLookup.Found found = ResourceLookup.find(entry.resource(), tried);
    if (found == null) {
      throw missing(name, remedy());
    }
    Path cached = new NativeCache(NativeCache.userRoot(), tried).extract(name, entry.sha256(), found);
    if (cached == null) {
      throw missing(name, "remedy: -D" + LIBRARY_PATH + "=FOLDER, or set XDG_CACHE_HOME to a "
          + "folder that can be written");
    }
    return new NativeFile(cached, found.origin());
  }

  private Map<String, Entry> index(String wanted) {
    Map<String, Entry> known = index;
    if (known != null) {
      return known;
    }
    ResourceLookup.Found found = null;
    for (String variant : VARIANTS) {
      found = ResourceLookup.find("ai/sluice/natives/" + variant + "/natives.sha256", tried);
      if (found != null) {
        break;
      }
    }
    if (found == null) {
      throw missing(wanted, remedy());
    }
    Map<String, Entry> read = new LinkedHashMap<>();
    try (InputStream in = found.open()) {
      for (String line : new String(in.readAllBytes(), StandardCharsets.UTF_8).split("\n")) {
        String[] fields = line.split(" +", 2);
        if (fields.length == 2) {
          String resource = fields[1].trim();
          read.put(resource.substring(resource.lastIndexOf('/') + 1), new Entry(fields[0], resource));
        }
      }
    } catch (IOException | UncheckedIOException e) {
      tried.add(found.origin() + ": " + e.getMessage());
      throw missing(wanted, remedy());
    }
    index = read;
    return read;
  }

  private static String remedy() {
    return "remedy: add ai.sluice:sluice-native with classifier " + String.join(" or ", VARIANTS)
        + ", and org.bytedeco:dnnl with classifier " + PLATFORM + ", to the class path, or set -D"
        + LIBRARY_PATH + "=FOLDER; libraries are built for linux-x86_64";
  }

  private NativeLoadException missing(String name, String remedy) {
    return new NativeLoadException(
        name + ": not found (" + remedy + "); tried:\n  " + String.join("\n  ", tried));
  }

  private static String platform() {
    String os = System.getProperty("os.name", "").toLowerCase(Locale.ROOT);
    String arch = System.getProperty("os.arch", "").toLowerCase(Locale.ROOT);
    return (os.startsWith("linux") ? "linux" : os.replace(' ', '-'))
        + "-"
        + (arch.equals("amd64") || arch.equals("x86_64") ? "x86_64" : arch);
  }
}

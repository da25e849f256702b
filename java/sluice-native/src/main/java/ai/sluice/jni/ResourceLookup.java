package ai.sluice.jni;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.net.URLConnection;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import java.util.zip.ZipFile;
import org.jspecify.annotations.Nullable;

/**
 * Finds a resource of a jar that holds natives.
 *
 * <p>On the class path a class loader sees it. On the module path it does so only when the jar's
 * module was resolved, and nothing requires a module without classes; so the jars of the module path
 * are looked through as files.
 */
final class ResourceLookup {
  private ResourceLookup() {}

  /** A resource that exists. */
  interface Found {
    /** The address of the resource, for messages. */
    String origin();

    InputStream open() throws IOException;
  }

  /**
   * Finds {@code name}.
   *
   * @param tried receives a line for each place that lacks it
   * @return the resource, or null
   */
  static @Nullable Found find(String name, List<String> tried) {
    ClassLoader own = ResourceLookup.class.getClassLoader();
    ClassLoader context = Thread.currentThread().getContextClassLoader();
    List<ClassLoader> loaders = new ArrayList<>();
    loaders.add(own);
    if (context != null && context != own) {
      loaders.add(context);
    }
    for (ClassLoader loader : loaders) {
      URL url = loader.getResource(name);
      if (url != null) {
        return new UrlResource(url);
      }
      tried.add(name + ": not on the class path (class loader " + loader + ")");
    }
    String modulePath = System.getProperty("jdk.module.path", "");
    for (String entry : modulePath.split(File.pathSeparator)) {
      if (!entry.isEmpty()) {
        Found found = findInJars(Path.of(entry), name);
        if (found != null) {
          return found;
        }
        tried.add(name + ": not in " + entry + " (module path)");
      }
    }
    return null;
  }

  private static @Nullable Found findInJars(Path entry, String name) {
    List<Path> jars;
    if (Files.isDirectory(entry)) {
      try (Stream<Path> files = Files.list(entry)) {
        jars = files.filter(file -> file.toString().endsWith(".jar")).sorted().toList();
      } catch (IOException e) {
        return null;
      }
    } else {
      jars = List.of(entry);
    }
    for (Path jar : jars) {
      try (ZipFile zip = new ZipFile(jar.toFile())) {
        if (zip.getEntry(name) != null) {
          return new JarResource(jar, name);
        }
      } catch (IOException e) {
        // Not a jar: it holds no natives.
        continue;
      }
    }
    return null;
  }

  private record UrlResource(URL url) implements Found {
    @Override
    public String origin() {
      return url.toString();
    }

    @Override
    public InputStream open() throws IOException {
      // Without the cache: a jar that stays open is not replaced cleanly by a rebuild.
      URLConnection connection = url.openConnection();
      connection.setUseCaches(false);
      return connection.getInputStream();
    }
  }

  private record JarResource(Path jar, String name) implements Found {
    @Override
    public String origin() {
      return jar + "!/" + name;
    }

    @Override
    public InputStream open() throws IOException {
      ZipFile zip = new ZipFile(jar.toFile());
      try {
        InputStream in = zip.getInputStream(zip.getEntry(name));
        return new java.io.FilterInputStream(in) {
          @Override
          public void close() throws IOException {
            zip.close();
          }
        };
      } catch (IOException | RuntimeException e) {
        zip.close();
        throw e;
      }
    }
  }
}

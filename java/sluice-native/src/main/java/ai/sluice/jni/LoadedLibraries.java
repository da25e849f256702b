package ai.sluice.jni;

import ai.sluice.api.NativeLoadException;
import java.nio.file.Path;
import java.util.Objects;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * The libraries of this process: loaded once, at the first call of {@link #get()}.
 *
 * <p>A failure is kept and thrown again by each later call, because a class whose initialisation
 * failed would otherwise answer with a {@code NoClassDefFoundError} that names no reason.
 */
final class LoadedLibraries {
  private static final LoadedLibraries INSTANCE = loadOnce();

  private final @Nullable NativeFile sluice;
  private final @Nullable NativeLoadException failure;

  private LoadedLibraries(@Nullable NativeFile sluice, @Nullable NativeLoadException failure) {
    this.sluice = sluice;
    this.failure = failure;
  }

  /**
   * Loads the libraries unless that happened before.
   *
   * @return where {@code libsluice.so} came from
   * @throws NativeLoadException when they cannot be loaded
   */
  static NativeFile get() {
    LoadedLibraries loaded = INSTANCE;
    if (loaded.failure != null) {
      throw new NativeLoadException(String.valueOf(loaded.failure.getMessage()), loaded.failure);
    }
    return Objects.requireNonNull(loaded.sluice);
  }

  private static LoadedLibraries loadOnce() {
    try {
      NativeFiles files = NativeFiles.locate();
      NativeFile sluice = files.sluice();
      loadSluice(sluice, files::gomp);
      load(files.jni());
      return new LoadedLibraries(sluice, null);
    } catch (NativeLoadException e) {
      return new LoadedLibraries(null, e);
    }
  }

  /**
   * The system's OpenMP runtime is preferred. Where there is none, the copy beside oneDNN is loaded
   * first; the system's loader then finds it by its name.
   */
  private static void loadSluice(NativeFile sluice, Supplier<NativeFile> gomp) {
    try {
      System.load(sluice.path().toString());
    } catch (UnsatisfiedLinkError e) {
      if (!String.valueOf(e.getMessage()).contains("libgomp")) {
        throw failure(sluice, e);
      }
      load(gomp.get());
      load(sluice);
    }
  }

  private static void load(NativeFile file) {
    try {
      System.load(file.path().toString());
    } catch (UnsatisfiedLinkError e) {
      throw failure(file, e);
    }
  }

  private static NativeLoadException failure(NativeFile file, UnsatisfiedLinkError cause) {
    Path path = file.path();
    return new NativeLoadException(
        path + ": " + cause.getMessage() + " (from " + file.origin() + "; expected: a library for "
            + NativeFiles.PLATFORM + " on a file system that allows execution; remedy: "
            + "-D" + NativeFiles.LIBRARY_PATH + "=FOLDER, or XDG_CACHE_HOME on another file system)",
        cause);
  }
}

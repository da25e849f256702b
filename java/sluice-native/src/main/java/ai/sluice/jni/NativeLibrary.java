package ai.sluice.jni;

import ai.sluice.api.NativeLoadException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Properties;
import org.bytedeco.javacpp.Pointer;
import org.jspecify.annotations.Nullable;

/**
 * The native library of this process.
 *
 * <p>Libraries are looked for in the folders of {@code -Dsluice.library.path} and nowhere else when
 * that is set; otherwise they are taken from the classifier jar and kept in the user's cache ({@code
 * $XDG_CACHE_HOME} or {@code ~/.cache}, under {@code sluice/natives}). Thread-safe.
 */
public final class NativeLibrary {
  private static final String JAVA_VERSION = readVersion();

  private NativeLibrary() {}

  /** Loads and checks once; a holder, so that no lock is held while others use the library. */
  private static final class Checked {
    static final String VERSION = check();

    private static String check() {
      NativeFile file = LoadedLibraries.get();
      int abi = SluiceAbi.sluice_abi_version();
      if (abi != SluiceAbi.SLUICE_ABI_VERSION) {
        return problem(file, "ABI version", abi, String.valueOf(SluiceAbi.SLUICE_ABI_VERSION));
      }
      String version = SluiceAbi.sluice_version().getString(StandardCharsets.UTF_8);
      if (!version.equals(JAVA_VERSION.replace("-SNAPSHOT", ""))) {
        return problem(file, "version", version, JAVA_VERSION.replace("-SNAPSHOT", ""));
      }
      NativeLog.adoptLevel();
      return version;
    }

    /** An exception here would poison the class; so a problem is a value that says what it is. */
    private static String problem(NativeFile file, String what, Object met, String expected) {
      return PROBLEM + file.path() + ": " + what + ": " + met + " (expected: " + expected
          + "; remedy: use sluice-core and its natives in one version, as sluice-bom gives them)";
    }
  }

  private static final String PROBLEM = "\0";

  /**
   * Loads the native library unless that happened before, and checks that both sides are of one
   * version.
   *
   * @throws NativeLoadException with every place tried and why it failed, or both versions
   */
  public static void load() {
    LoadedLibraries.get();
    String version = Checked.VERSION;
    if (version.startsWith(PROBLEM)) {
      throw new NativeLoadException(version.substring(PROBLEM.length()));
    }
  }

  /**
   * Version of the native library, for example {@code 0.1.0}.
   *
   * @throws NativeLoadException when it cannot be loaded
   */
  public static String version() {
    load();
    return Checked.VERSION;
  }

  /** Version of this side; available without the native library. */
  public static String javaVersion() {
    return JAVA_VERSION;
  }

  /**
   * The file that {@code libsluice.so} was loaded from.
   *
   * @throws NativeLoadException when it cannot be loaded
   */
  public static Path path() {
    load();
    return LoadedLibraries.get().path();
  }

  /**
   * Where {@link #path()} came from: {@code -Dsluice.library.path} or the address of a jar's entry.
   *
   * @throws NativeLoadException when it cannot be loaded
   */
  public static String origin() {
    load();
    return LoadedLibraries.get().origin();
  }

  /**
   * The oneDNN library to pass as {@code EngineOptions.onednn_path}; extracted at the first call.
   *
   * @throws NativeLoadException with every place tried and why it failed
   */
  public static Path onednnPath() {
    return NativeFiles.locate().onednn().path();
  }

  /**
   * A {@code SystemInfo} message: processor, devices, libraries, kernels that would be chosen. A
   * oneDNN that is missing is one of its problems, since an engine on a GPU does without it.
   *
   * @throws NativeLoadException when the library cannot be loaded
   */
  public static byte[] systemInfo() {
    load();
    String onednn = onednnOrName();
    return NativeCalls.twoCall(
        (buffer, capacity, size, error) ->
            SluiceAbi.sluice_system_info(
                onednn,
                buffer == null ? null : java.nio.ByteBuffer.wrap(buffer),
                capacity,
                size,
                error));
  }

  /**
   * A {@code LibraryInfo} message: whether a library that engines open can be opened.
   *
   * @param name {@code oneDNN}, {@code cuBLASLt}, {@code cuDNN} or {@code NCCL}
   * @param path file or folder to try; null: where engines look unasked
   * @throws NativeLoadException when the native library cannot be loaded
   * @throws ai.sluice.api.InvalidRequestException for another name
   */
  public static byte[] libraryInfo(String name, @Nullable Path path) {
    load();
    return NativeCalls.twoCall(
        (buffer, capacity, size, error) ->
            SluiceAbi.sluice_library_info(
                name,
                path == null ? null : path.toString(),
                buffer == null ? null : java.nio.ByteBuffer.wrap(buffer),
                capacity,
                size,
                error));
  }

  private static String onednnOrName() {
    try {
      return onednnPath().toString();
    } catch (NativeLoadException e) {
      // The native side then looks for it itself, and says so.
      return "libdnnl.so.3";
    }
  }

  /**
   * Size of a struct of {@code sluice.h}, for example {@code sluice_output_row}; for tests of code
   * that writes the step message by hand.
   *
   * @param struct name in the header
   * @return bytes
   */
  public static int sizeOf(String struct) {
    load();
    return org.bytedeco.javacpp.Loader.sizeof(struct(struct));
  }

  /**
   * Offset of a field of a struct of {@code sluice.h}.
   *
   * @param struct name in the header
   * @param field name in the header
   * @return bytes from the start of the struct
   */
  public static int offsetOf(String struct, String field) {
    load();
    return org.bytedeco.javacpp.Loader.offsetof(struct(struct), field);
  }

  private static Class<? extends Pointer> struct(String name) {
    try {
      return Class.forName("ai.sluice.jni." + name).asSubclass(Pointer.class);
    } catch (ClassNotFoundException e) {
      throw new IllegalArgumentException(name + ": unknown (expected: a struct of sluice.h)", e);
    }
  }

  private static String readVersion() {
    Properties properties = new Properties();
    try (InputStream in = NativeLibrary.class.getResourceAsStream("version.properties")) {
      if (in != null) {
        properties.load(in);
      }
    } catch (IOException e) {
      throw new NativeLoadException("version.properties: unreadable (remedy: rebuild the jar)", e);
    }
    return properties.getProperty("version", "unknown");
  }
}

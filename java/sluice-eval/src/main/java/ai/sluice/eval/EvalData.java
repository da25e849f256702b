package ai.sluice.eval;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/** Where data sets lie. */
public final class EvalData {
  private EvalData() {}

  /**
   * The folder of data sets: the one that is named, else {@code data} in Sluice's cache, where
   * {@code sluice eval fetch} puts them. It may not be there yet.
   *
   * @param named by the user, or null
   * @param cache Sluice's folder in the user's cache
   */
  public static Path folder(@Nullable String named, Path cache) {
    return named == null ? cache.resolve("data") : Path.of(named);
  }

  /** The same for this process's user, named by nobody: {@code ~/.cache/sluice/data}. */
  public static Path folder() {
    @Nullable String set = System.getenv("XDG_CACHE_HOME");
    // The convention says that a relative path there is to be ignored.
    Path cache =
        set != null && Path.of(set).isAbsolute()
            ? Path.of(set)
            : Path.of(System.getProperty("user.home"), ".cache");
    return folder(null, cache.resolve("sluice"));
  }
}

package ai.sluice.eval;

import java.nio.file.Files;
import java.nio.file.Path;

/** Where real data lies that the project does not hold: -Dsluice.test.data, else ../shared. */
public final class TestData {
  private TestData() {}

  /** A folder of it; it may be missing. */
  public static Path folder(String name) {
    String set = System.getProperty("sluice.test.data");
    if (set != null) {
      return Path.of(set).resolve(name);
    }
    Path at = Path.of("").toAbsolutePath();
    while (at != null && !Files.exists(at.resolve("CMakePresets.json"))) {
      at = at.getParent();
    }
    return at == null ? Path.of(name) : at.resolveSibling("shared").resolve(name);
  }

  /** Whether it is there; where it is not, standard error says that a test is left out. */
  public static boolean there(Path file) {
    boolean there = Files.exists(file);
    if (!there) {
      System.err.println("SKIPPED: " + file + " is not there (remedy: -Dsluice.test.data=FOLDER)");
    }
    return there;
  }
}

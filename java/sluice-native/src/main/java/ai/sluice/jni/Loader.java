package ai.sluice.jni;

/**
 * What the generated classes call when they are initialised.
 *
 * <p>JavaCPP writes {@code static { Loader.load(); }} into every class and imports its own loader by
 * package. A class of the same package takes precedence, so this one answers instead: it knows where
 * Sluice's libraries are, while JavaCPP's would search and extract by its own rules first.
 */
final class Loader {
  private Loader() {}

  static void load() {
    LoadedLibraries.get();
  }
}

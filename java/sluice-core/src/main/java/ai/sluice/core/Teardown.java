package ai.sluice.core;

import org.jspecify.annotations.Nullable;

/** Frees several things of which none may keep the others from being freed. */
final class Teardown {
  private Teardown() {}

  /**
   * Runs every step, in order, whatever the ones before it throw.
   *
   * @throws RuntimeException or Error: the first that a step threw; later ones are suppressed in it
   */
  static void run(Runnable... steps) {
    @Nullable Throwable first = null;
    for (Runnable step : steps) {
      try {
        step.run();
      } catch (Throwable e) {
        if (first == null) {
          first = e;
        } else if (first != e) {
          first.addSuppressed(e);
        }
      }
    }
    if (first instanceof Error error) {
      throw error;
    }
    if (first != null) {
      throw (RuntimeException) first; // a Runnable throws nothing else
    }
  }
}

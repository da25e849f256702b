package ai.sluice.api;

/** Watches an engine being opened. Called on the opening thread, about ten times a second. */
@FunctionalInterface
public interface LoadListener {
  /**
   * Called when a phase starts and while weights are read.
   *
   * @param progress how far the load has come
   * @return false to abort the load: opening then throws {@link EngineClosedException} and frees
   *     everything. An exception thrown here aborts the load too and reaches the opener
   */
  boolean onProgress(LoadProgress progress);
}

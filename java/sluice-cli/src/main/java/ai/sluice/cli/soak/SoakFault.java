package ai.sluice.cli.soak;

/** What a soak does wrong on purpose, so that each of its checks can be seen to fail. */
public enum SoakFault {
  /** Nothing. */
  NONE,
  /** Expects another token than the engine gives. */
  OUTPUT,
  /** Sees no step being computed. */
  STALL,
  /** Counts a KV block too many in use. */
  BLOCKS,
  /** Starts a thread that never ends with every request. */
  THREADS,
  /** Opens a file with every request. */
  FILES,
  /** Leaves the engine open. */
  HANDLES,
  /** Keeps native memory with every request. */
  MEMORY
}

package ai.sluice.api;

/** What a chunk of output is. More constants may come: keep a default branch. */
public enum ChunkKind {
  /** Text of the answer. */
  ANSWER
}

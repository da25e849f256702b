package ai.sluice.api;

/** What a chunk of output is. More constants may come: keep a default branch. */
public enum ChunkKind {
  /** Text of the answer. */
  ANSWER,
  /** Text that the model reasons with before its answer. */
  REASONING,
  /** A piece of a tool call, in {@link Chunk#toolCall}. */
  TOOL_CALL
}

package ai.sluice.api;

/** Why a generation ended. More constants may come: keep a default branch. */
public enum FinishReason {
  /** An end-of-sequence token, a stop token or a stop string. */
  STOP,
  /** The model ended its turn with calls of tools. */
  TOOL_CALLS,
  /** {@code maxNewTokens} or the context length was reached. */
  LENGTH,
  /** The caller cancelled or closed it, or the engine was closed. */
  CANCELLED,
  /** The request's timeout passed, queue time included. */
  TIMEOUT,
  /** Refused without running because the queue was full; try again later. */
  REJECTED,
  /** The model gave no usable values; {@link GenerationResult#detail} says more. */
  ERROR
}

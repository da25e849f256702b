package ai.sluice.api;

/**
 * Memory that a model needs under given options, worked out before anything is loaded.
 *
 * @param weightBytes weights as the engine keeps them
 * @param kvCacheBytes KV cache under the options
 * @param kvBytesPerToken KV cache of one token
 * @param workspaceBytes step workspace, estimated
 * @param freeBytes memory free now, or -1 if unknown
 * @param maxContextLength longest sequence that this plan holds
 */
public record MemoryPlan(
    long weightBytes,
    long kvCacheBytes,
    long kvBytesPerToken,
    long workspaceBytes,
    long freeBytes,
    int maxContextLength) {
  /** All of it. */
  public long totalBytes() {
    return weightBytes + kvCacheBytes + workspaceBytes;
  }
}

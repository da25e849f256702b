package ai.sluice.api;

import java.util.ServiceLoader;

/**
 * Memory that a model needs under given options, worked out before anything is loaded.
 *
 * @param weightBytes weights as the engine keeps them
 * @param kvCacheBytes KV cache under the options
 * @param kvBytesPerToken KV cache of one token
 * @param workspaceBytes step workspace
 * @param hostBytes of the host's memory beside a GPU, for what steps bring and leave; 0 on the CPU,
 *     whose workspace has it
 * @param freeBytes memory free now where the weights go, or -1 if unknown
 * @param maxContextLength longest sequence that this plan holds
 */
public record MemoryPlan(
    long weightBytes,
    long kvCacheBytes,
    long kvBytesPerToken,
    long workspaceBytes,
    long hostBytes,
    long freeBytes,
    int maxContextLength) {
  /**
   * Works out the memory that a model needs, by reading the checkpoint's description and nothing
   * else: no weights are loaded. Needs the engine's module (artifact {@code sluice-core}) and its
   * native library at run time.
   *
   * @param options as an engine would be opened with
   * @throws OutOfDeviceMemoryException if it does not fit
   * @throws InvalidRequestException if an option contradicts the model
   * @throws UnsupportedModelException if the model, or what is asked of it, is not supported
   * @throws CheckpointFormatException if a file is missing or damaged
   * @throws NativeLoadException if the native library cannot be loaded
   * @throws IllegalStateException if the engine's module is not there
   */
  public static MemoryPlan estimate(EngineOptions options) {
    Check.given("options", options);
    return ServiceLoader.load(MemoryEstimator.class)
        .findFirst()
        // A thread's own class loader may not see what this class's does.
        .or(
            () ->
                ServiceLoader.load(MemoryEstimator.class, MemoryPlan.class.getClassLoader())
                    .findFirst())
        .orElseThrow(
            () ->
                new IllegalStateException(
                    "MemoryEstimator: none found (expected: module ai.sluice.core, artifact"
                        + " sluice-core, beside sluice-api at run time)"))
        .estimate(options);
  }

  /** What is taken where the weights are: of the GPU, or of the host on the CPU. */
  public long totalBytes() {
    return weightBytes + kvCacheBytes + workspaceBytes;
  }
}

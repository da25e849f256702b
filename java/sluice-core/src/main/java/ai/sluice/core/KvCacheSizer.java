package ai.sluice.core;

import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.OutOfDeviceMemoryException;

/**
 * Decides how many KV blocks fit. Pure arithmetic.
 *
 * @param options as asked
 * @param blockSize tokens of a block
 * @param context longest sequence wanted
 * @param weightBytes memory of the weights
 * @param workspaceBytes memory of the step workspace
 * @param freeBytes memory free now, or -1 if unknown
 * @param share of the memory left beside weights and workspace that the KV cache takes unasked
 */
record KvCacheSizer(
    EngineOptions options,
    int blockSize,
    int context,
    long weightBytes,
    long workspaceBytes,
    long freeBytes,
    double share) {
  /** On the CPU: the machine has other work and a page cache that the weights were read through. */
  static final double MACHINE_SHARE = 0.5;

  /** On a GPU: the rest is for what libraries and graphs allocate themselves. */
  static final double DEVICE_SHARE = 0.9;

  /** Tokens of the shortest sequence that makes sense: one of the prompt and a new one. */
  private static final int LEAST_CONTEXT = 2;

  /**
   * Blocks of each kv group: what all sequences could need, as far as the memory allows; never less
   * than one sequence of a context that was asked for.
   *
   * @param bytesPerBlock of all groups together
   * @throws InvalidRequestException if kvCacheBytes is too small for one sequence
   * @throws OutOfDeviceMemoryException if the memory is too small for one sequence
   */
  int blocks(long bytesPerBlock) {
    long perSequence = blocksFor(context);
    // Slots of a group are numbered in 32 bits.
    long most = Integer.MAX_VALUE / blockSize;
    long wanted = Math.min(perSequence * options.maxSequences(), most);
    long left = freeBytes < 0 ? Long.MAX_VALUE : freeBytes - weightBytes - workspaceBytes;
    if (options.kvCacheBytes().isPresent()) {
      return given(options.kvCacheBytes().getAsLong(), bytesPerBlock, wanted, left);
    }
    long affordable =
        freeBytes < 0 ? wanted : (long) (Math.max(0, left) * share) / bytesPerBlock;
    long blocks = Math.min(wanted, affordable);
    if (blocks >= perSequence) {
      return (int) blocks;
    }
    // One sequence may take what several would share.
    long alone = Math.min(Math.min(perSequence, most), Math.max(0, left) / bytesPerBlock);
    if (alone < least()) {
      long needed = weightBytes + workspaceBytes + perSequence * bytesPerBlock;
      throw new OutOfDeviceMemoryException(
          "memory: " + needed + " bytes needed (weights " + weightBytes + ", workspace "
              + workspaceBytes + ", KV cache of one sequence of " + context + " tokens "
              + perSequence * bytesPerBlock + "), " + freeBytes + " free (remedy: a smaller "
              + (options.maxContextLength().isPresent() ? "maxContextLength, " : "")
              + "maxStepTokens or model"
              + (options.dtype() == ComputeDtype.FLOAT32 ? ", or dtype BFLOAT16)" : ")"),
          needed,
          freeBytes);
    }
    return (int) alone;
  }

  private int given(long kvCacheBytes, long bytesPerBlock, long wanted, long left) {
    long blocks = Math.min(kvCacheBytes / bytesPerBlock, wanted);
    if (blocks < least()) {
      throw new InvalidRequestException(
          "kvCacheBytes: " + kvCacheBytes + " (expected: at least " + least() * bytesPerBlock
              + ", for one sequence of " + options.maxContextLength().orElse(LEAST_CONTEXT)
              + " tokens)");
    }
    if (blocks * bytesPerBlock > left) {
      long needed = weightBytes + workspaceBytes + blocks * bytesPerBlock;
      throw new OutOfDeviceMemoryException(
          "memory: " + needed + " bytes needed (weights " + weightBytes + ", workspace "
              + workspaceBytes + ", KV cache " + blocks * bytesPerBlock + "), " + freeBytes
              + " free (remedy: a smaller kvCacheBytes)",
          needed,
          freeBytes);
    }
    return (int) blocks;
  }

  /** A context that was asked for is kept; one that was not may shrink. */
  private long least() {
    return blocksFor(options.maxContextLength().orElse(LEAST_CONTEXT));
  }

  private long blocksFor(int tokens) {
    return (tokens + blockSize - 1L) / blockSize;
  }
}

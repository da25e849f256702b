package ai.sluice.api;

/**
 * How far opening an engine has come.
 *
 * @param phase what is being done
 * @param file the checkpoint that is being read
 * @param bytesDone bytes of weights read so far; 0 outside {@link Phase#WEIGHTS}
 * @param bytesTotal bytes of weights to read; 0 while unknown
 */
public record LoadProgress(Phase phase, String file, long bytesDone, long bytesTotal) {
  /** Steps of opening an engine, in order. */
  public enum Phase {
    /** Reading headers, configuration and tokenizer. */
    CHECKPOINT,
    /** Allocating weights, KV blocks and workspace. */
    ALLOCATE,
    /** Reading and converting weights. */
    WEIGHTS,
    /** Packing weights for the kernels. */
    PACK,
    /** Ready for requests. */
    READY
  }
}

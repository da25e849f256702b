package ai.sluice.core.scheduler;

/**
 * Sizes a scheduler keeps to.
 *
 * @param maxSequences most running sequences, which is the number of seq_slots
 * @param maxStepTokens most tokens in a step
 * @param blockSize tokens per block
 * @param numBlocks blocks of each kv group; not copied
 * @param retention of each kv group: a position at this distance or more is not read any more; 0:
 *     every position is; not copied
 */
public record SchedulerLimits(
    int maxSequences, int maxStepTokens, int blockSize, int[] numBlocks, int[] retention) {
  /** Limits of groups that read every position. */
  public SchedulerLimits(int maxSequences, int maxStepTokens, int blockSize, int[] numBlocks) {
    this(maxSequences, maxStepTokens, blockSize, numBlocks, new int[numBlocks.length]);
  }
}

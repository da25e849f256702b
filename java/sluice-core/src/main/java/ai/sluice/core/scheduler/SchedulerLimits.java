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

  /**
   * The most positions that one sequence can ever hold, running alone. A sequence of {@code p}
   * prompt tokens and {@code n} new ones holds {@code p + n - 1}; one that gives values or is
   * scored holds {@code p}.
   */
  public int maxPositions() {
    long blocks = Integer.MAX_VALUE;
    for (int most : numBlocks) {
      blocks = Math.min(blocks, most);
    }
    return (int) Math.min(Integer.MAX_VALUE, blocks * blockSize);
  }
}

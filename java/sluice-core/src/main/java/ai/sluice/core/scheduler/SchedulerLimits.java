package ai.sluice.core.scheduler;

/**
 * Sizes a scheduler keeps to.
 *
 * @param maxSequences most running sequences, which is the number of seq_slots
 * @param maxStepTokens most tokens in a step
 * @param blockSize tokens per block
 * @param numBlocks blocks of each kv group; not copied
 */
public record SchedulerLimits(
    int maxSequences, int maxStepTokens, int blockSize, int[] numBlocks) {}

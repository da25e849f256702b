package ai.sluice.core.scheduler;

/**
 * Frequencies of one RoPE, fixed by the whole prompt's length when a sequence is admitted.
 *
 * @param rope index into ModelSpec.ropes
 * @param firstVariant number of static variants: the dynamic variant of a sequence is this plus its
 *     seq_slot
 * @param invFreq inverse frequencies; not copied
 * @param attentionScale multiplies cosine and sine
 */
public record RopeFrequencies(
    int rope, int firstVariant, double[] invFreq, double attentionScale) {}

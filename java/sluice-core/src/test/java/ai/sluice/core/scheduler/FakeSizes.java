package ai.sluice.core.scheduler;

/**
 * Sizes of a {@link FakeEngine} and of its step slots.
 *
 * @param slots step slots
 * @param groups kv groups
 * @param ropes RoPEs
 * @param maxContext most positions of a sequence
 * @param maxTopN most likeliest tokens of a row
 * @param maxDraftLen most drafts of a row
 * @param rows output rows of a step
 * @param blockUpdates block updates of a step
 * @param countUpdates count updates of a step
 * @param biases logit biases of a step
 * @param targets targets of a step
 * @param masks masks of a step
 */
record FakeSizes(
    int slots, int groups, int ropes, int maxContext, int maxTopN, int maxDraftLen, int rows,
    int blockUpdates, int countUpdates, int biases, int targets, int masks) {}

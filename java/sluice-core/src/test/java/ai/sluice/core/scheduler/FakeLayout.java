package ai.sluice.core.scheduler;

import static ai.sluice.jni.SluiceAbi.*;

import ai.sluice.jni.StepLayout;
import java.util.Arrays;

/** Lays out the step slots of a {@link FakeEngine}. */
final class FakeLayout {
  private FakeLayout() {}

  /** A layout of one row for each sequence, without drafts, targets and masks. */
  static StepLayout of(
      int slots, int groups, int ropes, SchedulerLimits limits, int maxTopN, int blockUpdates,
      int countUpdates, int biases) {
    return of(
        new FakeSizes(slots, groups, ropes, 0, maxTopN, 0, limits.maxSequences(), blockUpdates,
            countUpdates, biases, 0, 0),
        limits);
  }

  static StepLayout of(FakeSizes sizes, SchedulerLimits limits) {
    int t = limits.maxStepTokens();
    int s = limits.maxSequences();
    int rows = sizes.rows();
    int groups = sizes.groups();
    long accepted = (long) rows * (1 + sizes.maxDraftLen());
    long[] offset = new long[SLUICE_SECTION_END];
    long[] capacity = new long[SLUICE_SECTION_END];
    Arrays.fill(offset, -1);
    long[][] input = {
      {SLUICE_SECTION_SEQ_SLOT, s, 4}, {SLUICE_SECTION_QUERY_START, s + 1, 4},
      {SLUICE_SECTION_TOKEN_ID, t, 4}, {SLUICE_SECTION_TOKEN_POSITION, t, 4},
      {SLUICE_SECTION_TOKEN_KV_SLOT, (long) t * groups, 4},
      {SLUICE_SECTION_CONTEXT_LEN, s, 4}, {SLUICE_SECTION_ADAPTER, s, 4},
      {SLUICE_SECTION_ROPE_VARIANT, (long) s * sizes.ropes(), 4},
      {SLUICE_SECTION_STATE_OP, (long) s * (1 + groups), 16},
      {SLUICE_SECTION_BLOCK_UPDATE, sizes.blockUpdates(), 16},
      {SLUICE_SECTION_COUNT_UPDATE, sizes.countUpdates(), 16},
      {SLUICE_SECTION_OUTPUT_ROW, rows, 128},
      {SLUICE_SECTION_LOGIT_BIAS, sizes.biases(), 8}, {SLUICE_SECTION_ROPE_UPDATE, s, 24},
      {SLUICE_SECTION_ROPE_INV_FREQ, s, 8}, {SLUICE_SECTION_TARGET, sizes.targets(), 4},
      {SLUICE_SECTION_MASK, (long) sizes.masks() * FakeModel.MASK_WORDS, 4}
    };
    long[][] output = {
      {SLUICE_SECTION_ACCEPTED_COUNT, rows, 4}, {SLUICE_SECTION_TOKENS, accepted, 4},
      {SLUICE_SECTION_LOGPROB, accepted, 4}, {SLUICE_SECTION_RANK, accepted, 4},
      {SLUICE_SECTION_FINITE, rows, 4},
      {SLUICE_SECTION_TARGET_LOGPROB, sizes.targets(), 4},
      {SLUICE_SECTION_TARGET_RANK, sizes.targets(), 4},
      {SLUICE_SECTION_HEAD_VALUE, (long) rows * FakeModel.HEAD_VALUES, 4},
      {SLUICE_SECTION_TOP_TOKEN, accepted * sizes.maxTopN(), 4},
      {SLUICE_SECTION_TOP_LOGPROB, accepted * sizes.maxTopN(), 4},
      {SLUICE_SECTION_EXPERT_COUNT, FakeModel.LAYERS * FakeModel.EXPERTS, 4}
    };
    long inputBytes = place(input, 256, offset, capacity);
    long outputBytes = place(output, 64, offset, capacity);
    return new StepLayout(sizes.slots(), inputBytes, outputBytes, offset, capacity);
  }

  private static long place(long[][] sections, long at, long[] offset, long[] capacity) {
    for (long[] section : sections) {
      offset[(int) section[0]] = at;
      capacity[(int) section[0]] = section[1];
      at += (section[1] * section[2] + 63) / 64 * 64;
    }
    return at;
  }
}

package ai.sluice.core.scheduler;

import static ai.sluice.jni.SluiceAbi.*;

import ai.sluice.jni.StepLayout;
import java.util.Arrays;

/** Lays out the step slots of a {@link FakeEngine}. */
final class FakeLayout {
  private FakeLayout() {}

  static StepLayout of(
      int slots, int groups, int ropes, SchedulerLimits limits, int maxTopN, int blockUpdates,
      int countUpdates, int biases) {
    int t = limits.maxStepTokens();
    int s = limits.maxSequences();
    long[] offset = new long[SLUICE_SECTION_END];
    long[] capacity = new long[SLUICE_SECTION_END];
    Arrays.fill(offset, -1);
    long[][] input = {
      {SLUICE_SECTION_SEQ_SLOT, s, 4}, {SLUICE_SECTION_QUERY_START, s + 1, 4},
      {SLUICE_SECTION_TOKEN_ID, t, 4}, {SLUICE_SECTION_TOKEN_POSITION, t, 4},
      {SLUICE_SECTION_TOKEN_KV_SLOT, (long) t * groups, 4},
      {SLUICE_SECTION_CONTEXT_LEN, s, 4}, {SLUICE_SECTION_ADAPTER, s, 4},
      {SLUICE_SECTION_ROPE_VARIANT, (long) s * ropes, 4},
      {SLUICE_SECTION_STATE_OP, (long) s * (1 + groups), 16},
      {SLUICE_SECTION_BLOCK_UPDATE, blockUpdates, 16},
      {SLUICE_SECTION_COUNT_UPDATE, countUpdates, 16}, {SLUICE_SECTION_OUTPUT_ROW, s, 128},
      {SLUICE_SECTION_LOGIT_BIAS, biases, 8}, {SLUICE_SECTION_ROPE_UPDATE, s, 24},
      {SLUICE_SECTION_ROPE_INV_FREQ, s, 8}
    };
    long[][] output = {
      {SLUICE_SECTION_ACCEPTED_COUNT, s, 4}, {SLUICE_SECTION_TOKENS, s, 4},
      {SLUICE_SECTION_LOGPROB, s, 4}, {SLUICE_SECTION_RANK, s, 4}, {SLUICE_SECTION_FINITE, s, 4},
      {SLUICE_SECTION_HEAD_VALUE, (long) s * FakeEngine.HEAD_VALUES, 4},
      {SLUICE_SECTION_TOP_TOKEN, (long) s * maxTopN, 4},
      {SLUICE_SECTION_TOP_LOGPROB, (long) s * maxTopN, 4},
      {SLUICE_SECTION_EXPERT_COUNT, FakeEngine.LAYERS * FakeEngine.EXPERTS, 4}
    };
    long inputBytes = place(input, 256, offset, capacity);
    long outputBytes = place(output, 64, offset, capacity);
    return new StepLayout(slots, inputBytes, outputBytes, offset, capacity);
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

package ai.sluice.core.scheduler;

import static ai.sluice.jni.SluiceAbi.*;

import ai.sluice.jni.StepLayout;
import java.nio.ByteBuffer;

/**
 * Reads a step message and checks the rules of sluice.h that need no resident state: the header,
 * counts, tokens and sequences, and what rows refer to. Allocates nothing per step.
 */
final class FakeStep {
  private static final int[] ELEMENT_BYTES = new int[SLUICE_SECTION_INPUT_COUNT];

  static {
    java.util.Arrays.fill(ELEMENT_BYTES, 4);
    ELEMENT_BYTES[SLUICE_SECTION_STATE_OP] = 16;
    ELEMENT_BYTES[SLUICE_SECTION_BLOCK_UPDATE] = 16;
    ELEMENT_BYTES[SLUICE_SECTION_COUNT_UPDATE] = 16;
    ELEMENT_BYTES[SLUICE_SECTION_OUTPUT_ROW] = 128;
    ELEMENT_BYTES[SLUICE_SECTION_LOGIT_BIAS] = 8;
    ELEMENT_BYTES[SLUICE_SECTION_ROPE_UPDATE] = 24;
    ELEMENT_BYTES[SLUICE_SECTION_ROPE_INV_FREQ] = 8;
  }

  private final FakeSizes sizes;
  private final SchedulerLimits limits;
  private final int[] offset = new int[SLUICE_SECTION_END];
  private final long[] capacity;
  private final long inputBytes;
  private final int[] count = new int[SLUICE_SECTION_INPUT_COUNT];
  private final int[] seqSeen;
  private final int[] sampled;
  private final int[][] kvSeen;
  private final int[] owner;
  private ByteBuffer buffer = ByteBuffer.allocate(0);
  private int stamp;

  FakeStep(FakeSizes sizes, SchedulerLimits limits, StepLayout layout) {
    this.sizes = sizes;
    this.limits = limits;
    for (int i = 0; i < offset.length; i++) {
      offset[i] = (int) layout.offset()[i];
    }
    capacity = layout.capacity();
    inputBytes = layout.inputBytes();
    seqSeen = new int[limits.maxSequences()];
    sampled = new int[limits.maxSequences()];
    kvSeen = new int[sizes.groups()][];
    for (int g = 0; g < sizes.groups(); g++) {
      kvSeen[g] = new int[limits.numBlocks()[g] * limits.blockSize()];
    }
    owner = new int[limits.maxStepTokens()];
  }

  static void check(boolean holds, String what) {
    if (!holds) {
      throw new AssertionError(what);
    }
  }

  static void check(boolean holds, String what, long value) {
    if (!holds) {
      throw new AssertionError(what + ": " + value);
    }
  }

  /** Reads the step in a slot's input area from now on. */
  void read(ByteBuffer input) {
    buffer = input;
    for (int i = 0; i < count.length; i++) {
      count[i] = input.getInt(40 + 4 * i);
    }
  }

  long id() {
    return buffer.getLong(8);
  }

  int count(int section) {
    return count[section];
  }

  /** Byte index of an element. */
  int at(int section, int index) {
    return offset[section] + index * ELEMENT_BYTES[section];
  }

  int get(int section, int index) {
    return buffer.getInt(offset[section] + 4 * index);
  }

  int tokens() {
    return count[SLUICE_SECTION_TOKEN_ID];
  }

  int sequences() {
    return count[SLUICE_SECTION_SEQ_SLOT];
  }

  int rows() {
    return count[SLUICE_SECTION_OUTPUT_ROW];
  }

  int masks() {
    return count[SLUICE_SECTION_MASK] / FakeModel.MASK_WORDS;
  }

  /** The tokens that a mask allows. */
  long mask(int index) {
    long words = 0;
    for (int w = FakeModel.MASK_WORDS - 1; w >= 0; w--) {
      words =
          words << 32 | get(SLUICE_SECTION_MASK, index * FakeModel.MASK_WORDS + w) & 0xFFFFFFFFL;
    }
    return words & FakeModel.ANY;
  }

  /** The sequence of a token, after {@link #check}. */
  int sequenceOf(int token) {
    return owner[token];
  }

  /** Checks the step that was read last. */
  void check() {
    stamp++;
    checkHeader();
    for (int i = 0; i < sequences(); i++) {
      checkSequence(i);
    }
    int targets = 0;
    for (int r = 0; r < rows(); r++) {
      targets = checkRow(at(SLUICE_SECTION_OUTPUT_ROW, r), targets);
    }
    for (int i = 0; i < count[SLUICE_SECTION_TARGET]; i++) {
      int target = get(SLUICE_SECTION_TARGET, i);
      check(target >= 0 && target < FakeModel.VOCAB, "target", target);
    }
  }

  private void checkHeader() {
    check(buffer.getInt(0) == SLUICE_STEP_MAGIC, "magic");
    check(buffer.getInt(4) == SLUICE_ABI_VERSION, "abi version");
    check(buffer.getLong(24) == 0 && buffer.getLong(32) == 0, "plan hash or flags");
    for (int at = 40 + 4 * SLUICE_SECTION_INPUT_COUNT; at < 256; at += 4) {
      check(buffer.getInt(at) == 0, "reserved");
    }
    long end = 256;
    for (int i = 0; i < count.length; i++) {
      check(count[i] >= 0 && count[i] <= capacity[i], "count of a section beyond capacity", i);
      if (count[i] > 0) {
        end = Math.max(end, at(i, count[i]));
      }
    }
    check(buffer.getLong(16) >= end && buffer.getLong(16) <= inputBytes, "used bytes");
    int t = tokens();
    int s = sequences();
    check(t > 0 == s > 0, "tokens without sequences");
    check(
        t > 0 || count[SLUICE_SECTION_BLOCK_UPDATE] > 0 || count[SLUICE_SECTION_COUNT_UPDATE] > 0
            || count[SLUICE_SECTION_STATE_OP] > 0,
        "empty step");
    check(t > 0 || rows() == 0, "rows without tokens");
    check(count[SLUICE_SECTION_TOKEN_POSITION] == t, "positions");
    check(count[SLUICE_SECTION_TOKEN_KV_SLOT] == t * sizes.groups(), "kv slots");
    check(count[SLUICE_SECTION_QUERY_START] == s + 1, "query_start");
    check(
        count[SLUICE_SECTION_CONTEXT_LEN] == s && count[SLUICE_SECTION_ADAPTER] == s,
        "per sequence");
    check(count[SLUICE_SECTION_ROPE_VARIANT] == s * sizes.ropes(), "rope variants");
    check(count[SLUICE_SECTION_MASK] % FakeModel.MASK_WORDS == 0, "part of a mask");
    check(get(SLUICE_SECTION_QUERY_START, 0) == 0, "query_start[0]");
    check(get(SLUICE_SECTION_QUERY_START, s) == t, "query_start[S]");
  }

  private void checkSequence(int i) {
    int seq = get(SLUICE_SECTION_SEQ_SLOT, i);
    check(seq >= 0 && seq < seqSeen.length && seqSeen[seq] != stamp, "seq_slot", seq);
    seqSeen[seq] = stamp;
    check(get(SLUICE_SECTION_ADAPTER, i) == 0, "adapter");
    int begin = get(SLUICE_SECTION_QUERY_START, i);
    int end = get(SLUICE_SECTION_QUERY_START, i + 1);
    check(begin < end, "empty sequence");
    int context = get(SLUICE_SECTION_CONTEXT_LEN, i);
    check(
        context >= end - begin && (context <= sizes.maxContext() || sizes.maxContext() == 0),
        "context length", context);
    for (int k = begin; k < end; k++) {
      owner[k] = i;
      check(get(SLUICE_SECTION_TOKEN_ID, k) < FakeModel.VOCAB, "token");
      check(get(SLUICE_SECTION_TOKEN_POSITION, k) == context - (end - k), "position order");
      for (int g = 0; g < sizes.groups(); g++) {
        int slot = get(SLUICE_SECTION_TOKEN_KV_SLOT, k * sizes.groups() + g);
        check(slot >= 0 && slot < kvSeen[g].length, "kv slot", slot);
        check(kvSeen[g][slot] != stamp, "kv slot twice", slot);
        kvSeen[g][slot] = stamp;
      }
    }
  }

  /** Checks a row; gives where targets of the rows so far end. */
  private int checkRow(int at, int targetsBefore) {
    int token = buffer.getInt(at);
    check(token >= 0 && token < tokens(), "token index", token);
    int kind = buffer.getInt(at + 4);
    int drafts = buffer.getInt(at + 60);
    check(drafts >= 0 && drafts <= sizes.maxDraftLen(), "draft_len", drafts);
    checkRange(buffer.getInt(at + 64), buffer.getInt(at + 68), SLUICE_SECTION_LOGIT_BIAS);
    int targets = buffer.getInt(at + 76);
    checkRange(buffer.getInt(at + 72), targets, SLUICE_SECTION_TARGET);
    check(
        buffer.getInt(at + 80) >= 0 && buffer.getInt(at + 80) <= sizes.maxTopN(), "top_n",
        buffer.getInt(at + 80));
    int mask = buffer.getInt(at + 84);
    check(mask >= -1 && mask < masks(), "mask_index", mask);
    for (int i = 88; i < 128; i += 8) {
      check(buffer.getLong(at + i) == 0, "reserved");
    }
    int head = buffer.getInt(at + 8);
    check((buffer.getInt(at + 12) & ~3) == 0, "flags");
    switch (kind) {
      case SLUICE_OUTPUT_SAMPLE -> {
        int i = owner[token];
        check(head == 0, "head of a row of tokens", head);
        check(sampled[i] != stamp, "two SAMPLE rows of a sequence");
        sampled[i] = stamp;
        check(
            token + drafts == get(SLUICE_SECTION_QUERY_START, i + 1) - 1,
            "a row and its drafts do not end at the sequence's last token");
        check(mask == -1 || mask + drafts < masks(), "masks of drafts");
        float temperature = buffer.getFloat(at + 32);
        check(temperature >= 0 && temperature < Float.POSITIVE_INFINITY, "temperature");
        float topP = buffer.getFloat(at + 36);
        float minP = buffer.getFloat(at + 40);
        check(topP > 0 && topP <= 1 && minP >= 0 && minP < 1, "top_p or min_p");
        check(buffer.getInt(at + 44) >= 0 && buffer.getFloat(at + 48) > 0, "top_k or penalty");
        for (int k = 0; k < drafts; k++) {
          check(get(SLUICE_SECTION_TOKEN_ID, token + 1 + k) >= 0, "a draft that is a reference");
        }
      }
      case SLUICE_OUTPUT_LOGPROB -> {
        check(head == 0, "head of a row of tokens", head);
        check(drafts == 0 && mask == -1, "drafts or a mask of a LOGPROB row");
      }
      case SLUICE_OUTPUT_HEAD -> {
        check(head == FakeModel.VALUES_HEAD, "head of a row of values", head);
        check(
            drafts == 0 && targets == 0 && mask == -1 && buffer.getInt(at + 80) == 0,
            "drafts, targets, mask or top_n of a HEAD row");
      }
      default -> throw new AssertionError("kind of row: " + kind);
    }
    if (targets == 0) {
      return targetsBefore;
    }
    check(buffer.getInt(at + 72) >= targetsBefore, "targets overlap or are out of row order");
    return buffer.getInt(at + 72) + targets;
  }

  private void checkRange(int begin, int length, int section) {
    check(
        length >= 0 && length <= count[section] && begin >= 0 && begin <= count[section] - length,
        "range of section", section);
  }
}

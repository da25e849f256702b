package ai.sluice.core.scheduler;

import static ai.sluice.jni.SluiceAbi.SLUICE_ABI_VERSION;
import static ai.sluice.jni.SluiceAbi.SLUICE_OUTPUT_FLAG_COUNT;
import static ai.sluice.jni.SluiceAbi.SLUICE_OUTPUT_FLAG_LOGPROB;
import static ai.sluice.jni.SluiceAbi.SLUICE_OUTPUT_HEAD;
import static ai.sluice.jni.SluiceAbi.SLUICE_OUTPUT_LOGPROB;
import static ai.sluice.jni.SluiceAbi.SLUICE_OUTPUT_SAMPLE;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_ADAPTER;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_BLOCK_UPDATE;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_CONTEXT_LEN;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_COUNT_UPDATE;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_INPUT_COUNT;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_LOGIT_BIAS;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_MASK;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_OUTPUT_ROW;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_QUERY_START;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_ROPE_INV_FREQ;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_ROPE_UPDATE;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_ROPE_VARIANT;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_SEQ_SLOT;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_STATE_OP;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_TARGET;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_TOKEN_ID;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_TOKEN_KV_SLOT;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_TOKEN_POSITION;
import static ai.sluice.jni.SluiceAbi.SLUICE_STEP_MAGIC;

import ai.sluice.jni.StepLayout;
import ai.sluice.text.TokenConstraint;
import java.nio.ByteBuffer;
import java.util.Arrays;

/**
 * Writes the input area of one step slot. Between {@link #begin} and {@link #end}: sequences one
 * after another, each followed by its tokens; updates and rows at any time. Allocates nothing. Not
 * thread-safe.
 */
public final class StepMessage {
  /** Stands for a row without a mask. */
  public static final int NO_MASK = -1;

  private static final int HEADER_COUNTS = 40;
  private static final int[] ELEMENT_BYTES = elementBytes();

  private final ByteBuffer buffer;
  private final int[] offset = new int[SLUICE_SECTION_INPUT_COUNT];
  private final int[] capacity = new int[SLUICE_SECTION_INPUT_COUNT];
  private final int[] count = new int[SLUICE_SECTION_INPUT_COUNT];
  private final int positionDims;
  private final int kvGroups;
  private final int ropes;
  private final int maskWords;
  private int tokens;
  private int sequences;

  /** Creates a writer of messages without masks. */
  public StepMessage(
      ByteBuffer buffer, StepLayout layout, int positionDims, int kvGroups, int ropes) {
    this(buffer, layout, positionDims, kvGroups, ropes, 0);
  }

  /**
   * Creates a writer.
   *
   * @param buffer the whole input area, little endian
   * @param layout where sections lie
   * @param positionDims ModelSpec.position_dims
   * @param kvGroups number of kv groups
   * @param ropes number of RoPEs
   * @param vocabSize tokens that a mask speaks of
   */
  public StepMessage(
      ByteBuffer buffer,
      StepLayout layout,
      int positionDims,
      int kvGroups,
      int ropes,
      int vocabSize) {
    this.buffer = buffer;
    maskWords = (vocabSize + 31) / 32;
    this.positionDims = positionDims;
    this.kvGroups = kvGroups;
    this.ropes = ropes;
    for (int section = 0; section < SLUICE_SECTION_INPUT_COUNT; section++) {
      offset[section] = Math.toIntExact(layout.offset()[section]);
      capacity[section] = offset[section] < 0 ? 0 : Math.toIntExact(layout.capacity()[section]);
    }
  }

  /** Element size of every input section, as sluice.h defines them. */
  private static int[] elementBytes() {
    int[] bytes = new int[SLUICE_SECTION_INPUT_COUNT];
    Arrays.fill(bytes, 4);
    bytes[SLUICE_SECTION_STATE_OP] = 16;
    bytes[SLUICE_SECTION_BLOCK_UPDATE] = 16;
    bytes[SLUICE_SECTION_COUNT_UPDATE] = 16;
    bytes[SLUICE_SECTION_OUTPUT_ROW] = 128;
    bytes[SLUICE_SECTION_LOGIT_BIAS] = 8;
    bytes[SLUICE_SECTION_ROPE_UPDATE] = 24;
    bytes[SLUICE_SECTION_ROPE_INV_FREQ] = 8;
    return bytes;
  }

  /** Starts an empty step. */
  public void begin() {
    Arrays.fill(count, 0);
    tokens = 0;
    sequences = 0;
  }

  /** Tokens so far. */
  public int numTokens() {
    return tokens;
  }

  /** Whether it has neither tokens nor anything else to do. */
  public boolean isEmpty() {
    return tokens == 0
        && count[SLUICE_SECTION_STATE_OP] == 0
        && count[SLUICE_SECTION_BLOCK_UPDATE] == 0
        && count[SLUICE_SECTION_COUNT_UPDATE] == 0
        && count[SLUICE_SECTION_ROPE_UPDATE] == 0;
  }

  /** Sequences so far. */
  public int numSequences() {
    return sequences;
  }

  /** Output rows so far. */
  public int numRows() {
    return count[SLUICE_SECTION_OUTPUT_ROW];
  }

  /** How many more elements a section takes. */
  public int remaining(int section) {
    return capacity[section] - count[section];
  }

  /** How many elements a section of an empty message takes. */
  public int capacity(int section) {
    return capacity[section];
  }

  /** Whether there is room for a mask. */
  public boolean takesMask() {
    return maskWords > 0 && remaining(SLUICE_SECTION_MASK) >= maskWords;
  }

  /**
   * Adds the mask of a constraint, for which there must be room. If the constraint throws, nothing
   * is added.
   *
   * @return its index
   */
  public int addMask(TokenConstraint constraint) {
    int words = count[SLUICE_SECTION_MASK];
    at(SLUICE_SECTION_MASK, words + maskWords - 1);
    constraint.allow(buffer, at(SLUICE_SECTION_MASK, words));
    count[SLUICE_SECTION_MASK] += maskWords;
    return words / maskWords;
  }

  /**
   * Starts the next sequence, with adapter 0 and variant 0 of every RoPE.
   *
   * @param seqSlot key of its resident state
   * @param contextLen positions that hold state after this step
   */
  public void addSequence(int seqSlot, int contextLen) {
    putInt(SLUICE_SECTION_QUERY_START, sequences, tokens);
    putInt(SLUICE_SECTION_SEQ_SLOT, sequences, seqSlot);
    putInt(SLUICE_SECTION_CONTEXT_LEN, sequences, contextLen);
    putInt(SLUICE_SECTION_ADAPTER, sequences, 0);
    for (int rope = 0; rope < ropes; rope++) {
      putInt(SLUICE_SECTION_ROPE_VARIANT, sequences * ropes + rope, 0);
    }
    sequences++;
  }

  /** Sets the variant of a RoPE for the sequence added last. */
  public void setRopeVariant(int rope, int variant) {
    putInt(SLUICE_SECTION_ROPE_VARIANT, (sequences - 1) * ropes + rope, variant);
  }

  /**
   * Adds a token to the sequence added last; its KV slots follow by {@link #setKvSlot}.
   *
   * @param id a token id or a reference
   * @param position in the sequence, the same in every dimension
   * @return its index in the step
   */
  public int addToken(int id, int position) {
    putInt(SLUICE_SECTION_TOKEN_ID, tokens, id);
    for (int d = 0; d < positionDims; d++) {
      putInt(SLUICE_SECTION_TOKEN_POSITION, tokens * positionDims + d, position);
    }
    return tokens++;
  }

  /** Says where the state of the token added last goes. */
  public void setKvSlot(int group, int kvSlot) {
    putInt(SLUICE_SECTION_TOKEN_KV_SLOT, (tokens - 1) * kvGroups + group, kvSlot);
  }

  /**
   * Adds a row that chooses a token after the token added last.
   *
   * @param drawPosition position of the token to be chosen
   * @param head whose logits are meant, an index into ModelSpec.heads
   * @param seed of the random choice
   * @param sampling how it is chosen
   * @param topN likeliest tokens to report; below 0: no log-probabilities at all
   * @return the row's number
   */
  public int addSampleRow(
      long drawPosition, int head, long seed, SamplingParams sampling, int topN) {
    return addSampleRow(drawPosition, head, seed, sampling, topN, 0, NO_MASK);
  }

  /**
   * Adds a row that chooses a token, and verifies the tokens added last as drafts of it and those
   * behind it.
   *
   * @param drawPosition position of the first token to be chosen
   * @param head whose logits are meant, an index into ModelSpec.heads
   * @param seed of the random choice
   * @param sampling how it is chosen
   * @param topN likeliest tokens to report; below 0: no log-probabilities at all
   * @param draftLen how many of the tokens added last are drafts
   * @param mask index of the mask of the token to be chosen, or {@link #NO_MASK}
   * @return the row's number
   */
  public int addSampleRow(
      long drawPosition,
      int head,
      long seed,
      SamplingParams sampling,
      int topN,
      int draftLen,
      int mask) {
    int row = count[SLUICE_SECTION_OUTPUT_ROW]++;
    int at = at(SLUICE_SECTION_OUTPUT_ROW, row);
    int biasBegin = count[SLUICE_SECTION_LOGIT_BIAS];
    int[] biasTokens = sampling.biasTokens();
    for (int i = 0; i < biasTokens.length; i++) {
      int bias = at(SLUICE_SECTION_LOGIT_BIAS, count[SLUICE_SECTION_LOGIT_BIAS]++);
      buffer.putInt(bias, biasTokens[i]);
      buffer.putFloat(bias + 4, sampling.biases()[i]);
    }
    buffer.putInt(at, tokens - 1 - draftLen);
    buffer.putInt(at + 4, SLUICE_OUTPUT_SAMPLE);
    buffer.putInt(at + 8, head);
    buffer.putInt(
        at + 12,
        (sampling.countsOutput() ? SLUICE_OUTPUT_FLAG_COUNT : 0)
            | (topN >= 0 ? SLUICE_OUTPUT_FLAG_LOGPROB : 0));
    buffer.putLong(at + 16, seed);
    buffer.putLong(at + 24, drawPosition);
    buffer.putFloat(at + 32, sampling.temperature());
    buffer.putFloat(at + 36, sampling.topP());
    buffer.putFloat(at + 40, sampling.minP());
    buffer.putInt(at + 44, sampling.topK());
    buffer.putFloat(at + 48, sampling.repetitionPenalty());
    buffer.putFloat(at + 52, sampling.presencePenalty());
    buffer.putFloat(at + 56, sampling.frequencyPenalty());
    buffer.putInt(at + 60, draftLen);
    buffer.putInt(at + 64, biasBegin);
    buffer.putInt(at + 68, biasTokens.length);
    buffer.putInt(at + 72, 0);
    buffer.putInt(at + 76, 0);
    buffer.putInt(at + 80, Math.max(0, topN));
    buffer.putInt(at + 84, mask);
    for (int i = 88; i < 128; i += 8) {
      buffer.putLong(at + i, 0);
    }
    return row;
  }

  /**
   * Adds a row that asks for a head's values at the token added last.
   *
   * @param head an index into ModelSpec.heads, of a head that gives values
   * @return the row's number
   */
  public int addHeadRow(int head) {
    return addPlainRow(SLUICE_OUTPUT_HEAD, head);
  }

  /**
   * Adds a row that asks for log-probabilities of targets after the token added last.
   *
   * @param head whose logits are meant, an index into ModelSpec.heads
   * @param targets holds them
   * @param begin the first one
   * @param length how many
   * @param topN likeliest tokens to report besides; below 1: none
   * @return where the first stands among all targets of the step
   */
  public int addTargetRow(int head, int[] targets, int begin, int length, int topN) {
    int first = count[SLUICE_SECTION_TARGET];
    for (int i = 0; i < length; i++) {
      putInt(SLUICE_SECTION_TARGET, count[SLUICE_SECTION_TARGET]++, targets[begin + i]);
    }
    int at = at(SLUICE_SECTION_OUTPUT_ROW, addPlainRow(SLUICE_OUTPUT_LOGPROB, head));
    buffer.putInt(at + 72, first);
    buffer.putInt(at + 76, length);
    buffer.putInt(at + 80, Math.max(0, topN));
    return first;
  }

  private int addPlainRow(int kind, int head) {
    int row = count[SLUICE_SECTION_OUTPUT_ROW]++;
    int at = at(SLUICE_SECTION_OUTPUT_ROW, row);
    for (int i = 0; i < 128; i += 8) {
      buffer.putLong(at + i, 0);
    }
    buffer.putInt(at, tokens - 1);
    buffer.putInt(at + 4, kind);
    buffer.putInt(at + 8, head);
    buffer.putFloat(at + 36, 1);
    buffer.putFloat(at + 48, 1);
    buffer.putInt(at + 84, NO_MASK);
    return row;
  }

  /** Adds a state operation; see sluice.h for what source and target mean by kind. */
  public void addStateOp(int kind, int group, int source, int target) {
    putFour(SLUICE_SECTION_STATE_OP, kind, group, source, target);
  }

  /** Sets an entry of a sequence's block table. */
  public void addBlockUpdate(int seqSlot, int group, int index, int block) {
    putFour(SLUICE_SECTION_BLOCK_UPDATE, seqSlot, group, index, block);
  }

  /** Adds to a sequence's penalty counts. */
  public void addCountUpdate(int seqSlot, int token, int promptDelta, int outputDelta) {
    putFour(SLUICE_SECTION_COUNT_UPDATE, seqSlot, token, promptDelta, outputDelta);
  }

  /** Rewrites a dynamic RoPE variant. */
  public void addRopeUpdate(int rope, int variant, double[] invFreq, double attentionScale) {
    int begin = count[SLUICE_SECTION_ROPE_INV_FREQ];
    for (double value : invFreq) {
      buffer.putDouble(
          at(SLUICE_SECTION_ROPE_INV_FREQ, count[SLUICE_SECTION_ROPE_INV_FREQ]++), value);
    }
    int at = at(SLUICE_SECTION_ROPE_UPDATE, count[SLUICE_SECTION_ROPE_UPDATE]++);
    buffer.putInt(at, rope);
    buffer.putInt(at + 4, variant);
    buffer.putInt(at + 8, begin);
    buffer.putInt(at + 12, 0);
    buffer.putDouble(at + 16, attentionScale);
  }

  /** Finishes the message: the header and what follows from the number of tokens and sequences. */
  public void end(long stepId) {
    putInt(SLUICE_SECTION_QUERY_START, sequences, tokens);
    count[SLUICE_SECTION_TOKEN_ID] = tokens;
    count[SLUICE_SECTION_TOKEN_POSITION] = tokens * positionDims;
    count[SLUICE_SECTION_TOKEN_KV_SLOT] = tokens * kvGroups;
    count[SLUICE_SECTION_SEQ_SLOT] = sequences;
    count[SLUICE_SECTION_QUERY_START] = sequences + 1;
    count[SLUICE_SECTION_CONTEXT_LEN] = sequences;
    count[SLUICE_SECTION_ADAPTER] = sequences;
    count[SLUICE_SECTION_ROPE_VARIANT] = sequences * ropes;
    long used = 0;
    for (int section = 0; section < SLUICE_SECTION_INPUT_COUNT; section++) {
      buffer.putInt(HEADER_COUNTS + 4 * section, count[section]);
      if (count[section] > 0) {
        used = Math.max(used, at(section, count[section] - 1) + (long) ELEMENT_BYTES[section]);
      }
    }
    buffer.putInt(0, SLUICE_STEP_MAGIC);
    buffer.putInt(4, SLUICE_ABI_VERSION);
    buffer.putLong(8, stepId);
    buffer.putLong(16, used);
    buffer.putLong(24, 0);
    buffer.putInt(32, 0);
    buffer.putInt(36, 0);
    for (int at = HEADER_COUNTS + 4 * SLUICE_SECTION_INPUT_COUNT; at < 256; at += 4) {
      buffer.putInt(at, 0);
    }
  }

  private void putInt(int section, int index, int value) {
    buffer.putInt(at(section, index), value);
  }

  private void putFour(int section, int a, int b, int c, int d) {
    int at = at(section, count[section]++);
    buffer.putInt(at, a);
    buffer.putInt(at + 4, b);
    buffer.putInt(at + 8, c);
    buffer.putInt(at + 12, d);
  }

  private int at(int section, int index) {
    if (index < 0 || index >= capacity[section]) {
      throw new IllegalStateException(
          "step section " + section + ": element " + index
              + " (expected: below its capacity " + capacity[section] + ")");
    }
    return offset[section] + index * ELEMENT_BYTES[section];
  }
}

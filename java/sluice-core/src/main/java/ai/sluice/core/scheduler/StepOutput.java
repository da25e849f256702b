package ai.sluice.core.scheduler;

import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_ACCEPTED_COUNT;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_EXPERT_COUNT;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_FINITE;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_HEAD_VALUE;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_LOGPROB;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_RANK;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_TARGET_LOGPROB;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_TARGET_RANK;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_TOKENS;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_TOP_LOGPROB;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_TOP_TOKEN;

import ai.sluice.jni.StepLayout;
import java.nio.ByteBuffer;

/** Reads the output area of one step slot. Allocates nothing. */
public final class StepOutput {
  /** A row whose values are all finite. */
  public static final int USABLE = 1;

  /** A row for which mask and bias left no token. */
  public static final int NO_TOKEN_ALLOWED = 2;

  private static final int DEVICE_MICROS = 16;

  private final ByteBuffer buffer;
  private final int perRow;
  private final int maxTopN;
  private final int accepted;
  private final int tokens;
  private final int logprobs;
  private final int ranks;
  private final int finite;
  private final int topTokens;
  private final int topLogprobs;
  private final int targetLogprobs;
  private final int targetRanks;
  private final int headValues;
  private final int valuesPerRow;
  private final int expertCounts;

  /**
   * Creates a reader.
   *
   * @param buffer the whole output area, little endian
   * @param layout where sections lie
   * @param maxDraftLen of the engine's options
   * @param maxTopN of the engine's options
   * @param valuesPerRow most values that a head of the model gives; 0: none gives any
   */
  public StepOutput(
      ByteBuffer buffer, StepLayout layout, int maxDraftLen, int maxTopN, int valuesPerRow) {
    this.buffer = buffer;
    this.perRow = 1 + maxDraftLen;
    this.maxTopN = maxTopN;
    long[] offset = layout.offset();
    accepted = Math.toIntExact(offset[SLUICE_SECTION_ACCEPTED_COUNT]);
    tokens = Math.toIntExact(offset[SLUICE_SECTION_TOKENS]);
    logprobs = Math.toIntExact(offset[SLUICE_SECTION_LOGPROB]);
    ranks = Math.toIntExact(offset[SLUICE_SECTION_RANK]);
    finite = Math.toIntExact(offset[SLUICE_SECTION_FINITE]);
    topTokens = Math.toIntExact(offset[SLUICE_SECTION_TOP_TOKEN]);
    topLogprobs = Math.toIntExact(offset[SLUICE_SECTION_TOP_LOGPROB]);
    targetLogprobs = Math.toIntExact(offset[SLUICE_SECTION_TARGET_LOGPROB]);
    targetRanks = Math.toIntExact(offset[SLUICE_SECTION_TARGET_RANK]);
    headValues = Math.toIntExact(offset[SLUICE_SECTION_HEAD_VALUE]);
    expertCounts = Math.toIntExact(offset[SLUICE_SECTION_EXPERT_COUNT]);
    this.valuesPerRow = valuesPerRow;
  }

  /** Time the step took, in microseconds. */
  public long deviceMicros() {
    return buffer.getLong(DEVICE_MICROS);
  }

  /** {@link #USABLE}, {@link #NO_TOKEN_ALLOWED}, or 0 for a row with values that are not finite. */
  public int finite(int row) {
    return buffer.getInt(finite + 4 * row);
  }

  /** Tokens accepted in a row. */
  public int acceptedCount(int row) {
    return buffer.getInt(accepted + 4 * row);
  }

  /** The {@code i}-th accepted token of a row. */
  public int token(int row, int i) {
    return buffer.getInt(tokens + 4 * (row * perRow + i));
  }

  /** Its log-probability, if the row asked for it. */
  public float logprob(int row, int i) {
    return buffer.getFloat(logprobs + 4 * (row * perRow + i));
  }

  /** How many tokens were likelier, if the row asked for it. */
  public int rank(int row, int i) {
    return buffer.getInt(ranks + 4 * (row * perRow + i));
  }

  /** Log-probability of the {@code i}-th target of the step, counted over all its rows. */
  public float targetLogprob(int i) {
    return buffer.getFloat(targetLogprobs + 4 * i);
  }

  /** How many tokens were likelier than the {@code i}-th target of the step. */
  public int targetRank(int i) {
    return buffer.getInt(targetRanks + 4 * i);
  }

  /** Value {@code i} of the head that a row of kind HEAD asked for. */
  public float headValue(int row, int i) {
    return buffer.getFloat(headValues + 4 * (row * valuesPerRow + i));
  }

  /**
   * Tokens that an expert computed in this step, if the options ask for them.
   *
   * @param i layer * the most experts that a layer has + expert
   */
  public int expertCount(int i) {
    return buffer.getInt(expertCounts + 4 * i);
  }

  /** The {@code n}-th likeliest token at the {@code i}-th accepted token of a row. */
  public int topToken(int row, int i, int n) {
    return buffer.getInt(topTokens + 4 * ((row * perRow + i) * maxTopN + n));
  }

  /** Its log-probability. */
  public float topLogprob(int row, int i, int n) {
    return buffer.getFloat(topLogprobs + 4 * ((row * perRow + i) * maxTopN + n));
  }
}

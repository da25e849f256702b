package ai.sluice.core.scheduler;

import static ai.sluice.core.scheduler.FakeStep.check;
import static ai.sluice.jni.SluiceAbi.*;

import ai.sluice.api.EngineClosedException;
import ai.sluice.api.EngineFailedException;
import ai.sluice.jni.StepLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;

/**
 * A model that is a hash. It keeps KV state by slot as the native engine does, reads a context
 * through its resident block tables alone, and checks every rule of the step message. So a block
 * that is freed too early, shared or mistaken, a row that is meant for another, a mask of another
 * state or a draft that was not rolled back gives other tokens or an error.
 */
final class FakeEngine implements StepRunner {
  static final int VOCAB = FakeModel.VOCAB;
  static final int EOS = FakeModel.EOS;
  static final int VALUES_HEAD = FakeModel.VALUES_HEAD;
  static final int HEAD_VALUES = FakeModel.HEAD_VALUES;
  static final int LAYERS = FakeModel.LAYERS;
  static final int EXPERTS = FakeModel.EXPERTS;

  private static final int STATIC_VARIANTS = 1;
  private static final long EMPTY = -1;
  /** What a slot holds whose token was a draft that was not accepted. */
  private static final long REJECTED = -2;

  final int groups;
  final int ropes;
  final int blockSize;
  final StepLayout layout;
  final ByteBuffer[] inputs;
  final ByteBuffer[] outputs;
  final FakeSizes sizes;
  /** Whether the model mostly repeats itself, so that drafts are accepted. */
  boolean repetitive;
  /** One row in so many is not finite, by its tokens; 0: none. */
  int notFiniteOneIn;

  int copies;
  int forks;
  int draftRows;
  int acceptedDrafts;
  int rejectedDrafts;
  int maskedRows;
  volatile boolean aborted;
  volatile long failAtStep = Long.MAX_VALUE;
  volatile long stepNanos;
  /** Whether {@link #abort} throws. */
  volatile boolean abortFails;
  /** Output rows whose logits "are not finite", by seed. */
  final Set<Long> poisonedSeeds = new HashSet<>();

  private final int[] offset = new int[SLUICE_SECTION_END];
  private final int[] windows;
  private final long[][] kv; // [group][slot]: token << 32 | position
  private final long[][] chains; // [group][slot]: FakeModel.chain of all tokens up to this one
  private final FakeResident resident;
  private final FakeStep step;
  private final ArrayDeque<Integer> queue = new ArrayDeque<>();
  private final boolean[] done;
  private final int[] expertCounts = new int[LAYERS * EXPERTS];
  private long lastStepId;
  // Rows of the step that ran last: what was chosen, for whom, and where it stands.
  private int numLastRows;
  private final int[] lastToken;
  private final int[] lastSequence;
  private final int[] lastPosition;
  private ByteBuffer in;
  private ByteBuffer out;

  /** An engine with room for a row at every token, four drafts, and a mask for every draft. */
  FakeEngine(
      int slots, int groups, int ropes, SchedulerLimits limits, int maxContext, int maxTopN,
      int blockUpdates, int countUpdates, int biases) {
    this(
        new FakeSizes(slots, groups, ropes, maxContext, maxTopN, 4,
            limits.maxStepTokens() + limits.maxSequences(), blockUpdates, countUpdates, biases,
            2 * limits.maxStepTokens(), 5 * limits.maxSequences()),
        limits);
  }

  FakeEngine(FakeSizes sizes, SchedulerLimits limits) {
    this.sizes = sizes;
    groups = sizes.groups();
    ropes = sizes.ropes();
    blockSize = limits.blockSize();
    windows = limits.retention();
    layout = FakeLayout.of(sizes, limits);
    for (int i = 0; i < offset.length; i++) {
      offset[i] = (int) layout.offset()[i];
    }
    inputs = new ByteBuffer[sizes.slots()];
    outputs = new ByteBuffer[sizes.slots()];
    done = new boolean[sizes.slots()];
    for (int i = 0; i < inputs.length; i++) {
      // Whatever the writer leaves out must not matter.
      inputs[i] = filled(layout.inputBytes());
      outputs[i] = filled(layout.outputBytes());
    }
    in = inputs[0];
    out = outputs[0];
    step = new FakeStep(sizes, limits, layout);
    kv = new long[groups][];
    chains = new long[groups][];
    for (int g = 0; g < groups; g++) {
      kv[g] = new long[limits.numBlocks()[g] * blockSize];
      Arrays.fill(kv[g], EMPTY);
      chains[g] = new long[kv[g].length];
    }
    resident = new FakeResident(sizes, limits);
    lastToken = new int[sizes.rows()];
    lastSequence = new int[sizes.rows()];
    lastPosition = new int[sizes.rows()];
  }

  private static ByteBuffer filled(long bytes) {
    ByteBuffer buffer = ByteBuffer.allocateDirect((int) bytes).order(ByteOrder.LITTLE_ENDIAN);
    for (int b = 0; b < bytes; b++) {
      buffer.put(b, (byte) 0x5A);
    }
    return buffer;
  }

  StepMessage message(int slot) {
    return new StepMessage(inputs[slot], layout, 1, groups, ropes, VOCAB);
  }

  StepOutput outputOf(int slot) {
    return new StepOutput(
        outputs[slot], layout, sizes.maxDraftLen(), sizes.maxTopN(), HEAD_VALUES);
  }

  /** The expert of a token; layer 1 has none. */
  static int expert(int token, int layer) {
    return FakeModel.expert(token, layer);
  }

  /** Value {@code k} of the head that gives values, after these tokens. */
  static float value(int[] tokens, int k) {
    return FakeModel.value(FakeModel.chain(tokens, tokens.length, 0), k);
  }

  @Override
  public int numSlots() {
    return inputs.length;
  }

  @Override
  public ByteBuffer input(int slot) {
    return inputs[slot];
  }

  @Override
  public ByteBuffer output(int slot) {
    return outputs[slot];
  }

  @Override
  public synchronized void submit(int slot) {
    if (aborted) {
      throw new EngineClosedException("aborted");
    }
    check(!queue.contains(slot) && !done[slot], "a slot in flight", slot);
    check(inputs[slot].getLong(8) == ++lastStepId, "step id", inputs[slot].getLong(8));
    queue.add(slot);
  }

  @Override
  public boolean await(int slot, long timeoutMicros) {
    if (stepNanos > 0) {
      java.util.concurrent.locks.LockSupport.parkNanos(stepNanos);
    }
    synchronized (this) {
      if (aborted) {
        throw new EngineClosedException("aborted");
      }
      while (!done[slot]) {
        check(!queue.isEmpty(), "await of a slot that is not in flight", slot);
        int next = queue.poll();
        run(next);
        done[next] = true;
      }
      done[slot] = false;
      return true;
    }
  }

  @Override
  public void abort() {
    aborted = true;
    if (abortFails) {
      throw new EngineFailedException("an abort that fails was asked for");
    }
  }

  private void run(int slot) {
    in = inputs[slot];
    out = outputs[slot];
    step.read(in);
    if (step.id() >= failAtStep) {
      throw new EngineFailedException("a fault was asked for at step " + failAtStep);
    }
    step.check();
    resident.begin();
    for (int i = 0; i < step.count(SLUICE_SECTION_STATE_OP); i++) {
      runStateOp(step.at(SLUICE_SECTION_STATE_OP, i));
    }
    resident.checkSources();
    for (int i = 0; i < step.count(SLUICE_SECTION_BLOCK_UPDATE); i++) {
      int at = step.at(SLUICE_SECTION_BLOCK_UPDATE, i);
      resident.setBlock(in.getInt(at), in.getInt(at + 4), in.getInt(at + 8), in.getInt(at + 12));
    }
    for (int i = 0; i < step.count(SLUICE_SECTION_COUNT_UPDATE); i++) {
      int at = step.at(SLUICE_SECTION_COUNT_UPDATE, i);
      resident.count(in.getInt(at), in.getInt(at + 4), in.getInt(at + 8), in.getInt(at + 12));
    }
    for (int i = 0; i < step.count(SLUICE_SECTION_ROPE_UPDATE); i++) {
      int at = step.at(SLUICE_SECTION_ROPE_UPDATE, i);
      int begin = in.getInt(at + 8);
      check(begin >= 0 && begin < step.count(SLUICE_SECTION_ROPE_INV_FREQ), "inv_freq", begin);
      resident.frequencies[in.getInt(at)][in.getInt(at + 4) - STATIC_VARIANTS] =
          in.getDouble(step.at(SLUICE_SECTION_ROPE_INV_FREQ, begin));
    }
    Arrays.fill(expertCounts, 0);
    for (int i = 0; i < step.sequences(); i++) {
      runTokens(i);
    }
    for (int r = 0; r < step.rows(); r++) {
      runRow(r, step.at(SLUICE_SECTION_OUTPUT_ROW, r));
    }
    numLastRows = step.rows();
    for (int i = 0; i < expertCounts.length; i++) {
      out.putInt(offset[SLUICE_SECTION_EXPERT_COUNT] + 4 * i, expertCounts[i]);
    }
    out.putLong(8, step.id());
    out.putLong(16, 1);
  }

  private void runStateOp(int at) {
    int group = in.getInt(at + 4);
    int source = in.getInt(at + 8);
    int target = in.getInt(at + 12);
    switch (in.getInt(at)) {
      case SLUICE_STATE_OP_RESET_SEQ -> resident.reset(target);
      case SLUICE_STATE_OP_COPY_SEQ -> {
        resident.copy(source, target);
        forks++;
      }
      case SLUICE_STATE_OP_COPY_BLOCK -> {
        resident.copyBlock(group, source, target);
        System.arraycopy(
            kv[group], source * blockSize, kv[group], target * blockSize, blockSize);
        System.arraycopy(
            chains[group], source * blockSize, chains[group], target * blockSize, blockSize);
        copies++;
      }
      case SLUICE_STATE_OP_ZERO_BLOCK -> {
        resident.zeroBlock(group, target);
        Arrays.fill(kv[group], target * blockSize, (target + 1) * blockSize, EMPTY);
      }
      default -> throw new AssertionError("state op " + in.getInt(at));
    }
  }

  private void runTokens(int i) {
    int seq = step.get(SLUICE_SECTION_SEQ_SLOT, i);
    int begin = step.get(SLUICE_SECTION_QUERY_START, i);
    int end = step.get(SLUICE_SECTION_QUERY_START, i + 1);
    double frequency = frequency(i, seq);
    for (int k = begin; k < end; k++) {
      int position = step.get(SLUICE_SECTION_TOKEN_POSITION, k);
      int token = token(step.get(SLUICE_SECTION_TOKEN_ID, k), seq, position);
      for (int layer = 0; layer < LAYERS; layer++) {
        if (expert(token, layer) >= 0) {
          expertCounts[layer * EXPERTS + expert(token, layer)]++;
        }
      }
      for (int g = 0; g < groups; g++) {
        int kvSlot = step.get(SLUICE_SECTION_TOKEN_KV_SLOT, k * groups + g);
        check(slotOf(seq, g, position) == kvSlot, "kv slot and block table disagree", kvSlot);
        kv[g][kvSlot] = (long) token << 32 | position;
        long before =
            position == 0 ? FakeModel.start(frequency) : chains[g][slotOf(seq, g, position - 1)];
        chains[g][kvSlot] = FakeModel.chain(before, token);
      }
    }
    int first = step.get(SLUICE_SECTION_TOKEN_POSITION, begin);
    for (int g = 0; g < groups; g++) {
      checkContext(seq, g, first, first + end - begin - 1, frequency);
    }
  }

  /** The token that an id stands for. */
  private int token(int id, int seq, int position) {
    if (id >= 0) {
      return id;
    }
    if (id == SLUICE_TOKEN_LAST) {
      return resident.last(seq);
    }
    int row = -1 - id;
    check(row < numLastRows && lastSequence[row] >= 0, "reference to a row", row);
    check(lastSequence[row] == seq, "reference to a row of another sequence", row);
    check(lastPosition[row] == position, "reference from another position", position);
    return lastToken[row];
  }

  private int slotOf(int seq, int group, int position) {
    int block = resident.block(seq, group, position / blockSize);
    if (block < 0) {
      throw new AssertionError(
          "block table entry of seq_slot " + seq + " is not set at position " + position);
    }
    return block * blockSize + position % blockSize;
  }

  /** The frequencies of sequence {@code i} of a step; checks its variants. */
  private double frequency(int i, int seq) {
    double frequency = 0;
    for (int k = 0; k < ropes; k++) {
      int variant = step.get(SLUICE_SECTION_ROPE_VARIANT, i * ropes + k);
      check(variant == 0 || variant == STATIC_VARIANTS + seq, "rope variant", variant);
      frequency += variant == 0 ? 0 : resident.frequencies[k][seq];
    }
    return frequency;
  }

  /**
   * Everything that the queries at two positions and between see is what this sequence would have
   * written there.
   */
  private void checkContext(int seq, int group, int from, int to, double frequency) {
    int first = windows[group] == 0 ? 0 : Math.max(0, from - windows[group] + 1);
    long before = FakeModel.start(frequency);
    for (int p = first; p <= to; p++) {
      int at = slotOf(seq, group, p);
      long entry = kv[group][at];
      if ((int) entry != p || entry < 0) {
        throw new AssertionError(
            "position " + p + " of seq_slot " + seq + ": the kv slot holds "
                + (entry == EMPTY
                    ? "nothing"
                    : entry == REJECTED ? "a rejected draft" : "position " + (int) entry));
      }
      long chain = chains[group][at];
      check(
          p == first && p > 0 || chain == FakeModel.chain(before, (int) (entry >>> 32)),
          "state of another prefix at position", p);
      before = chain;
    }
    check(group == 0 || before == chains[0][slotOf(seq, 0, to)], "groups disagree");
  }

  private void runRow(int r, int at) {
    int token = in.getInt(at);
    int i = step.sequenceOf(token);
    int seq = step.get(SLUICE_SECTION_SEQ_SLOT, i);
    int position = step.get(SLUICE_SECTION_TOKEN_POSITION, token);
    long chain = chains[0][slotOf(seq, 0, position)];
    boolean finite = FakeModel.isFinite(chain, notFiniteOneIn);
    int kind = in.getInt(at + 4);
    int first = r * (1 + sizes.maxDraftLen());
    out.putInt(offset[SLUICE_SECTION_ACCEPTED_COUNT] + 4 * r, 0);
    for (int k = 0; k <= sizes.maxDraftLen(); k++) {
      // So that what was not accepted is not taken for a token.
      out.putInt(offset[SLUICE_SECTION_TOKENS] + 4 * (first + k), -1);
    }
    lastSequence[r] = -1;
    for (int k = 0; k < in.getInt(at + 76); k++) {
      int target = in.getInt(at + 72) + k;
      int id = step.get(SLUICE_SECTION_TARGET, target);
      out.putFloat(
          offset[SLUICE_SECTION_TARGET_LOGPROB] + 4 * target,
          finite ? FakeModel.logprob(chain, id) : Float.NaN);
      out.putInt(
          offset[SLUICE_SECTION_TARGET_RANK] + 4 * target,
          finite ? FakeModel.rank(chain, id) : 0);
    }
    switch (kind) {
      case SLUICE_OUTPUT_HEAD -> {
        for (int k = 0; k < HEAD_VALUES; k++) {
          out.putFloat(
              offset[SLUICE_SECTION_HEAD_VALUE] + 4 * (r * HEAD_VALUES + k),
              FakeModel.value(chain, k));
        }
      }
      case SLUICE_OUTPUT_LOGPROB -> {
        for (int k = 0; k < in.getInt(at + 80); k++) {
          putTop(first, k, k, chain);
        }
      }
      default -> {
        sample(r, at, seq, position);
        return;
      }
    }
    out.putInt(offset[SLUICE_SECTION_FINITE] + 4 * r, finite ? 1 : 0);
  }

  private void putTop(int row, int k, int token, long chain) {
    int top = (row * sizes.maxTopN() + k) * 4;
    out.putInt(offset[SLUICE_SECTION_TOP_TOKEN] + top, token % VOCAB);
    out.putFloat(
        offset[SLUICE_SECTION_TOP_LOGPROB] + top, FakeModel.logprob(chain, token % VOCAB));
  }

  /** Chooses the tokens of a row after {@code position} and its drafts. */
  private void sample(int r, int at, int seq, int position) {
    long seed = in.getLong(at + 16);
    check(in.getLong(at + 24) == position + 1, "draw position", in.getLong(at + 24));
    int drafts = in.getInt(at + 60);
    int mask = in.getInt(at + 84);
    int bias = 0;
    for (int k = 0; k < in.getInt(at + 68); k++) {
      int biasAt = step.at(SLUICE_SECTION_LOGIT_BIAS, in.getInt(at + 64) + k);
      bias += in.getInt(biasAt) * 31 + (int) in.getFloat(biasAt + 4);
    }
    int status = poisonedSeeds.contains(seed) ? 0 : StepOutput.USABLE;
    boolean counts = (in.getInt(at + 12) & SLUICE_OUTPUT_FLAG_COUNT) != 0;
    long outputCounts = resident.outputCounts(seq);
    int accepted = 0;
    int token = 0;
    int first = r * (1 + sizes.maxDraftLen());
    for (int i = 0; status == StepOutput.USABLE && i <= drafts && accepted == i; i++) {
      int kvSlot = slotOf(seq, 0, position + i);
      long chain = chains[0][kvSlot];
      token =
          FakeModel.next(chain, (int) (kv[0][kvSlot] >>> 32), position + 1 + i, seed,
              in.getFloat(at + 32), resident.promptCounts(seq), outputCounts, bias,
              mask < 0 ? FakeModel.ANY : step.mask(mask + i), repetitive);
      if (!FakeModel.isFinite(chain, notFiniteOneIn)) {
        status = 0;
      } else if (token == FakeModel.NOTHING_ALLOWED) {
        status = StepOutput.NO_TOKEN_ALLOWED;
      } else {
        outputCounts += counts ? FakeModel.counted(token) : 0;
        out.putInt(offset[SLUICE_SECTION_TOKENS] + 4 * (first + i), token);
        out.putFloat(
            offset[SLUICE_SECTION_LOGPROB] + 4 * (first + i), FakeModel.logprob(chain, token));
        out.putInt(
            offset[SLUICE_SECTION_RANK] + 4 * (first + i), FakeModel.rank(chain, token));
        for (int k = 0; k < in.getInt(at + 80); k++) {
          putTop(first + i, k, token + k, chain);
        }
        boolean equal =
            i < drafts && token == (int) (kv[0][slotOf(seq, 0, position + i + 1)] >>> 32);
        accepted += equal ? 1 : 0;
      }
    }
    int taken = status == StepOutput.USABLE ? accepted + 1 : 0;
    if (counts && taken > 0) {
      resident.countOutputs(seq, taken, outputCounts);
    }
    for (int i = Math.max(1, taken); i <= drafts; i++) {
      for (int g = 0; g < groups; g++) {
        kv[g][slotOf(seq, g, position + i)] = REJECTED;
      }
    }
    out.putInt(offset[SLUICE_SECTION_ACCEPTED_COUNT] + 4 * r, taken);
    out.putInt(offset[SLUICE_SECTION_FINITE] + 4 * r, status);
    lastToken[r] = taken > 0 ? token : 0;
    lastSequence[r] = seq;
    lastPosition[r] = position + Math.max(1, taken);
    resident.setLast(seq, lastToken[r]);
    maskedRows += mask >= 0 ? 1 : 0;
    draftRows += drafts > 0 ? 1 : 0;
    acceptedDrafts += Math.max(0, taken - 1);
    rejectedDrafts += drafts - Math.max(0, taken - 1);
  }
}

package ai.sluice.core.scheduler;

import static ai.sluice.jni.SluiceAbi.*;

import ai.sluice.api.EngineClosedException;
import ai.sluice.api.EngineFailedException;
import ai.sluice.jni.StepLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/**
 * A model that is a hash. It keeps KV state by slot as the native engine does, reads a context
 * through its resident block tables alone, and checks every rule of the step message. So a block
 * that is freed too early, shared or mistaken gives other tokens or an error.
 */
final class FakeEngine implements StepRunner {
  static final int VOCAB = 50;
  static final int EOS = 0;
  /** The head that gives values, and how many. */
  static final int VALUES_HEAD = 1;

  static final int HEAD_VALUES = 3;

  /** Layers and experts of the model; {@link #expert} says who computes a token. */
  static final int LAYERS = 3;

  static final int EXPERTS = 4;

  final int groups;
  final int ropes;
  final int blockSize;
  final StepLayout layout;
  final ByteBuffer[] inputs;
  final ByteBuffer[] outputs;
  final int maxSequences;
  final int maxTopN;
  private final int maxBlocks;
  private final int staticVariants = 1;
  private final int[] windows;
  private final long[][] kv; // [group][slot]: token << 32 | position
  private final long[][] chains; // [group][slot]: hash of all tokens up to this one
  private final int[][][] tables; // [seqSlot][group][index]
  private final int[][] counts; // [seqSlot]{prompt, output}
  private final double[][] dynamicFreq; // [rope][seqSlot]
  private final ArrayDeque<Integer> queue = new ArrayDeque<>();
  private final Set<Integer> done = new HashSet<>();
  private int[] lastRows = {};
  private long lastStepId;
  private int submittedRows = 0;
  int copies;
  volatile boolean aborted;
  volatile long failAtStep = Long.MAX_VALUE;
  volatile long stepNanos;
  /** Whether {@link #abort} throws. */
  volatile boolean abortFails;
  /** Output rows whose logits "are not finite", by seed. */
  final Set<Long> poisonedSeeds = new HashSet<>();

  FakeEngine(
      int slots, int groups, int ropes, SchedulerLimits limits, int maxContext, int maxTopN,
      int blockUpdates, int countUpdates, int biases) {
    this.groups = groups;
    this.ropes = ropes;
    this.blockSize = limits.blockSize();
    this.maxSequences = limits.maxSequences();
    this.maxTopN = maxTopN;
    windows = limits.retention();
    this.maxBlocks = (maxContext + blockSize - 1) / blockSize;
    layout =
        FakeLayout.of(
            slots, groups, ropes, limits, maxTopN, blockUpdates, countUpdates, biases);
    inputs = new ByteBuffer[slots];
    outputs = new ByteBuffer[slots];
    for (int i = 0; i < slots; i++) {
      inputs[i] = ByteBuffer.allocateDirect((int) layout.inputBytes()).order(
          ByteOrder.LITTLE_ENDIAN);
      outputs[i] = ByteBuffer.allocateDirect((int) layout.outputBytes()).order(
          ByteOrder.LITTLE_ENDIAN);
      // Whatever the writer leaves out must not matter.
      for (int b = 0; b < layout.inputBytes(); b++) {
        inputs[i].put(b, (byte) 0x5A);
      }
    }
    kv = new long[groups][];
    chains = new long[groups][];
    for (int g = 0; g < groups; g++) {
      kv[g] = new long[limits.numBlocks()[g] * blockSize];
      Arrays.fill(kv[g], -1);
      chains[g] = new long[kv[g].length];
    }
    tables = new int[maxSequences][groups][maxBlocks];
    for (int[][] table : tables) {
      for (int[] row : table) {
        Arrays.fill(row, -1);
      }
    }
    counts = new int[maxSequences][2];
    dynamicFreq = new double[ropes][maxSequences];
  }

  StepMessage message(int slot) {
    return new StepMessage(inputs[slot], layout, 1, groups, ropes);
  }

  StepOutput outputOf(int slot) {
    return new StepOutput(outputs[slot], layout, 0, maxTopN, HEAD_VALUES);
  }

  /** The expert of a token; layer 1 has none. */
  static int expert(int token, int layer) {
    return layer == 1 ? -1 : (token + layer) % EXPERTS;
  }

  /** Value {@code k} of the head that gives values, after these tokens. */
  static float value(int[] tokens, int k) {
    return valueOf(chain(tokens, tokens.length, 0), k);
  }

  private static float valueOf(long chain, int k) {
    return chain % 1000 + k;
  }

  /** What a KV slot holds of the tokens up to its own, under the frequencies of the sequence. */
  private static long chain(int[] tokens, int length, double frequency) {
    long hash = chainStart(frequency);
    for (int i = 0; i < length; i++) {
      hash = chain(hash, tokens[i]);
    }
    return hash;
  }

  private static long chainStart(double frequency) {
    return 1469598103934665603L ^ Double.doubleToLongBits(frequency);
  }

  private static long chain(long before, int token) {
    return (before ^ token) * 1099511628211L;
  }

  /** What the model says after these tokens. */
  static int next(
      int[] tokens, int length, long seed, float temperature, int promptCounts, int outputCounts,
      double frequency, int bias) {
    return next(chain(tokens, length, frequency), length, seed, temperature, promptCounts,
        outputCounts, bias);
  }

  private static int next(
      long chain, int length, long seed, float temperature, int promptCounts, int outputCounts,
      int bias) {
    long hash = chain;
    hash = (hash ^ (temperature > 0 ? seed + length : 0)) * 1099511628211L;
    hash = (hash ^ promptCounts) * 1099511628211L;
    hash = (hash ^ outputCounts) * 1099511628211L;
    hash = (hash ^ bias) * 1099511628211L;
    return (int) Math.floorMod(hash >>> 17, VOCAB);
  }

  private int in(int slot, int section, int index) {
    return inputs[slot].getInt((int) layout.offset()[section] + 4 * index);
  }

  private static void check(boolean holds, String what) {
    if (!holds) {
      throw new AssertionError(what);
    }
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
    ByteBuffer b = inputs[slot];
    check(!queue.contains(slot) && !done.contains(slot), "slot " + slot + " is in flight");
    check(b.getInt(0) == SLUICE_STEP_MAGIC, "magic");
    check(b.getInt(4) == SLUICE_ABI_VERSION, "abi version");
    check(b.getLong(8) == ++lastStepId, "step id " + b.getLong(8) + " is not " + lastStepId);
    check(b.getLong(24) == 0 && b.getInt(32) == 0, "plan hash or flags");
    for (int at = 40 + 4 * SLUICE_SECTION_INPUT_COUNT; at < 256; at += 4) {
      check(b.getInt(at) == 0, "reserved");
    }
    int[] n = new int[SLUICE_SECTION_INPUT_COUNT];
    for (int i = 0; i < n.length; i++) {
      n[i] = b.getInt(40 + 4 * i);
      check(n[i] >= 0 && n[i] <= layout.capacity()[i], "count of section " + i + ": " + n[i]);
    }
    int t = n[SLUICE_SECTION_TOKEN_ID];
    int s = n[SLUICE_SECTION_SEQ_SLOT];
    check(t > 0 == s > 0, "tokens without sequences");
    check(
        t > 0 || n[SLUICE_SECTION_BLOCK_UPDATE] > 0 || n[SLUICE_SECTION_COUNT_UPDATE] > 0,
        "empty step");
    check(n[SLUICE_SECTION_TOKEN_POSITION] == t, "positions");
    check(n[SLUICE_SECTION_TOKEN_KV_SLOT] == t * groups, "kv slots");
    check(n[SLUICE_SECTION_QUERY_START] == s + 1, "query_start");
    check(n[SLUICE_SECTION_CONTEXT_LEN] == s && n[SLUICE_SECTION_ADAPTER] == s, "per sequence");
    check(n[SLUICE_SECTION_ROPE_VARIANT] == s * ropes, "rope variants");
    check(in(slot, SLUICE_SECTION_QUERY_START, 0) == 0, "query_start[0]");
    check(in(slot, SLUICE_SECTION_QUERY_START, s) == t, "query_start[S]");
    Set<Integer> seqs = new HashSet<>();
    Set<Long> kvSlots = new HashSet<>();
    for (int i = 0; i < s; i++) {
      int seq = in(slot, SLUICE_SECTION_SEQ_SLOT, i);
      check(seq >= 0 && seq < maxSequences && seqs.add(seq), "seq_slot " + seq);
      int begin = in(slot, SLUICE_SECTION_QUERY_START, i);
      int end = in(slot, SLUICE_SECTION_QUERY_START, i + 1);
      check(begin < end, "empty sequence");
      int context = in(slot, SLUICE_SECTION_CONTEXT_LEN, i);
      for (int k = begin; k < end; k++) {
        int id = in(slot, SLUICE_SECTION_TOKEN_ID, k);
        check(id < VOCAB && id >= -submittedRows, "token " + id);
        check(
            in(slot, SLUICE_SECTION_TOKEN_POSITION, k) == context - (end - k), "position order");
        for (int g = 0; g < groups; g++) {
          long kvSlot = in(slot, SLUICE_SECTION_TOKEN_KV_SLOT, k * groups + g);
          check(kvSlot >= 0 && kvSlot < kv[g].length, "kv slot " + kvSlot);
          check(kvSlots.add((long) g << 32 | kvSlot), "kv slot " + kvSlot + " twice");
        }
      }
    }
    submittedRows = n[SLUICE_SECTION_OUTPUT_ROW];
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
      while (!done.remove(slot)) {
        check(!queue.isEmpty(), "await of a slot that is not in flight");
        int next = queue.poll();
        run(next);
        done.add(next);
      }
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
    ByteBuffer b = inputs[slot];
    if (b.getLong(8) >= failAtStep) {
      throw new EngineFailedException("a fault was asked for at step " + failAtStep);
    }
    runStateOps(slot);
    Set<String> updated = new HashSet<>();
    for (int i = 0; i < b.getInt(40 + 4 * SLUICE_SECTION_BLOCK_UPDATE); i++) {
      int at = (int) layout.offset()[SLUICE_SECTION_BLOCK_UPDATE] + 16 * i;
      int seq = b.getInt(at);
      int group = b.getInt(at + 4);
      int index = b.getInt(at + 8);
      check(updated.add(seq + "/" + group + "/" + index), "block update twice");
      int block = b.getInt(at + 12);
      check(
          (tables[seq][group][index] == -1) == (block >= 0),
          "block table entry " + tables[seq][group][index] + " becomes " + block);
      check(block < kv[group].length / blockSize, "block " + block);
      tables[seq][group][index] = block;
    }
    for (int i = 0; i < b.getInt(40 + 4 * SLUICE_SECTION_COUNT_UPDATE); i++) {
      int at = (int) layout.offset()[SLUICE_SECTION_COUNT_UPDATE] + 16 * i;
      counts[b.getInt(at)][0] += b.getInt(at + 8);
      counts[b.getInt(at)][1] += b.getInt(at + 12);
    }
    for (int i = 0; i < b.getInt(40 + 4 * SLUICE_SECTION_ROPE_UPDATE); i++) {
      int at = (int) layout.offset()[SLUICE_SECTION_ROPE_UPDATE] + 24 * i;
      int begin = b.getInt(at + 8);
      dynamicFreq[b.getInt(at)][b.getInt(at + 4) - staticVariants] =
          b.getDouble((int) layout.offset()[SLUICE_SECTION_ROPE_INV_FREQ] + 8 * begin);
    }
    int s = b.getInt(40 + 4 * SLUICE_SECTION_SEQ_SLOT);
    Map<Integer, Integer> sequenceOfToken = new HashMap<>();
    int[] expertCounts = new int[LAYERS * EXPERTS];
    for (int i = 0; i < s; i++) {
      int seq = in(slot, SLUICE_SECTION_SEQ_SLOT, i);
      for (int k = in(slot, SLUICE_SECTION_QUERY_START, i);
          k < in(slot, SLUICE_SECTION_QUERY_START, i + 1); k++) {
        sequenceOfToken.put(k, i);
        int id = in(slot, SLUICE_SECTION_TOKEN_ID, k);
        int token = id >= 0 ? id : lastRows[-1 - id];
        for (int layer = 0; layer < LAYERS; layer++) {
          if (expert(token, layer) >= 0) {
            expertCounts[layer * EXPERTS + expert(token, layer)]++;
          }
        }
        int position = in(slot, SLUICE_SECTION_TOKEN_POSITION, k);
        for (int g = 0; g < groups; g++) {
          int kvSlot = in(slot, SLUICE_SECTION_TOKEN_KV_SLOT, k * groups + g);
          check(
              tables[seq][g][position / blockSize] == kvSlot / blockSize
                  && position % blockSize == kvSlot % blockSize,
              "kv slot and block table disagree");
          kv[g][kvSlot] = (long) token << 32 | position;
          long before =
              position == 0
                  ? chainStart(frequency(slot, i))
                  : chains[g][slotOf(seq, g, position - 1)];
          chains[g][kvSlot] = chain(before, token);
          checkContext(seq, g, position, frequency(slot, i));
        }
      }
    }
    int rows = b.getInt(40 + 4 * SLUICE_SECTION_OUTPUT_ROW);
    int[] chosen = new int[rows];
    Set<Integer> sampled = new HashSet<>();
    for (int r = 0; r < rows; r++) {
      int at = (int) layout.offset()[SLUICE_SECTION_OUTPUT_ROW] + 128 * r;
      int i = sequenceOfToken.get(b.getInt(at));
      check(sampled.add(i), "two rows of a sequence");
      check(
          b.getInt(at) == in(slot, SLUICE_SECTION_QUERY_START, i + 1) - 1,
          "row is not on the last token");
      chosen[r] = row(slot, r, i, at);
    }
    for (int i = 0; i < expertCounts.length; i++) {
      outputs[slot].putInt(
          (int) layout.offset()[SLUICE_SECTION_EXPERT_COUNT] + 4 * i, expertCounts[i]);
    }
    outputs[slot].putLong(8, b.getLong(8));
    outputs[slot].putLong(16, 1);
    lastRows = chosen;
  }

  private void runStateOps(int slot) {
    ByteBuffer b = inputs[slot];
    Set<Integer> sequences = new HashSet<>();
    Set<String> targets = new HashSet<>();
    Set<String> sources = new HashSet<>();
    for (int i = 0; i < b.getInt(40 + 4 * SLUICE_SECTION_STATE_OP); i++) {
      int at = (int) layout.offset()[SLUICE_SECTION_STATE_OP] + 16 * i;
      int group = b.getInt(at + 4);
      int source = b.getInt(at + 8);
      int target = b.getInt(at + 12);
      switch (b.getInt(at)) {
        case SLUICE_STATE_OP_RESET_SEQ -> {
          check(sequences.add(target), "two state operations on seq_slot " + target);
          Arrays.stream(tables[target]).forEach(row -> Arrays.fill(row, -1));
          Arrays.fill(counts[target], 0);
        }
        case SLUICE_STATE_OP_COPY_BLOCK -> {
          check(targets.add(group + "/" + target), "block " + target + " is a target twice");
          sources.add(group + "/" + source);
          System.arraycopy(kv[group], source * blockSize, kv[group], target * blockSize,
              blockSize);
          System.arraycopy(chains[group], source * blockSize, chains[group], target * blockSize,
              blockSize);
          copies++;
        }
        default -> throw new AssertionError("state op " + b.getInt(at));
      }
    }
    sources.retainAll(targets);
    check(sources.isEmpty(), "both source and target: " + sources);
  }

  private int slotOf(int seq, int group, int position) {
    int block = tables[seq][group][position / blockSize];
    check(block >= 0, "block table entry is not set");
    return block * blockSize + position % blockSize;
  }

  /** The frequencies of sequence {@code i} of a step; checks its variants. */
  private double frequency(int slot, int i) {
    int seq = in(slot, SLUICE_SECTION_SEQ_SLOT, i);
    double frequency = 0;
    for (int k = 0; k < ropes; k++) {
      int variant = in(slot, SLUICE_SECTION_ROPE_VARIANT, i * ropes + k);
      check(variant == 0 || variant == staticVariants + seq, "rope variant " + variant);
      frequency += variant == 0 ? 0 : dynamicFreq[k][seq];
    }
    return frequency;
  }

  /** Everything that a query sees is what this sequence would have written there. */
  private void checkContext(int seq, int group, int position, double frequency) {
    int first = windows[group] == 0 ? 0 : Math.max(0, position - windows[group] + 1);
    long before = chainStart(frequency);
    for (int p = first; p <= position; p++) {
      int at = slotOf(seq, group, p);
      long entry = kv[group][at];
      check((int) entry == p, "kv slot holds position " + (int) entry + ", not " + p);
      check(
          p == first && p > 0 || chains[group][at] == chain(before, (int) (entry >>> 32)),
          "position " + p + " has state of another prefix");
      before = chains[group][at];
    }
    check(
        group == 0 || before == chains[0][slotOf(seq, 0, position)], "groups disagree");
  }

  private int row(int slot, int r, int i, int at) {
    ByteBuffer b = inputs[slot];
    int seq = in(slot, SLUICE_SECTION_SEQ_SLOT, i);
    int context = in(slot, SLUICE_SECTION_CONTEXT_LEN, i);
    long chain = chains[0][slotOf(seq, 0, context - 1)];
    if (b.getInt(at + 4) == SLUICE_OUTPUT_HEAD) {
      check(b.getInt(at + 8) == VALUES_HEAD, "head of a row of values");
      for (int k = 0; k < HEAD_VALUES; k++) {
        outputs[slot].putFloat(
            (int) layout.offset()[SLUICE_SECTION_HEAD_VALUE] + 4 * (r * HEAD_VALUES + k),
            valueOf(chain, k));
      }
      outputs[slot].putInt((int) layout.offset()[SLUICE_SECTION_FINITE] + 4 * r, 1);
      return 0;
    }
    long seed = b.getLong(at + 16);
    check(b.getLong(at + 24) == context, "draw position");
    check(b.getInt(at + 4) == SLUICE_OUTPUT_SAMPLE && b.getInt(at + 8) == 0, "kind or head");
    check(b.getInt(at + 60) == 0 && b.getInt(at + 76) == 0, "drafts or targets");
    check(b.getInt(at + 84) == -1, "mask");
    int flags = b.getInt(at + 12);
    int bias = 0;
    for (int k = 0; k < b.getInt(at + 68); k++) {
      int biasAt = (int) layout.offset()[SLUICE_SECTION_LOGIT_BIAS]
          + 8 * (b.getInt(at + 64) + k);
      bias += b.getInt(biasAt) * 31 + (int) b.getFloat(biasAt + 4);
    }
    int token =
        next(chain, context, seed, b.getFloat(at + 32), counts[seq][0], counts[seq][1], bias);
    ByteBuffer out = outputs[slot];
    boolean usable = !poisonedSeeds.contains(seed);
    if ((flags & SLUICE_OUTPUT_FLAG_COUNT) != 0 && usable) {
      counts[seq][1]++;
    }
    int four = 4 * r;
    out.putInt((int) layout.offset()[SLUICE_SECTION_ACCEPTED_COUNT] + four, usable ? 1 : 0);
    out.putInt((int) layout.offset()[SLUICE_SECTION_FINITE] + four, usable ? 1 : 0);
    out.putInt((int) layout.offset()[SLUICE_SECTION_TOKENS] + four, token);
    out.putFloat((int) layout.offset()[SLUICE_SECTION_LOGPROB] + four, -token / 10f);
    out.putInt((int) layout.offset()[SLUICE_SECTION_RANK] + four, token % 3);
    for (int k = 0; k < b.getInt(at + 80); k++) {
      int top = (r * maxTopN + k) * 4;
      out.putInt((int) layout.offset()[SLUICE_SECTION_TOP_TOKEN] + top, (token + k) % VOCAB);
      out.putFloat((int) layout.offset()[SLUICE_SECTION_TOP_LOGPROB] + top, -k);
    }
    return usable ? token : 0;
  }
}

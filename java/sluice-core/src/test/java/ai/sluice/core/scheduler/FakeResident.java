package ai.sluice.core.scheduler;

import static ai.sluice.core.scheduler.FakeStep.check;

import java.util.Arrays;

/**
 * What a {@link FakeEngine} keeps of each seq_slot from step to step, and the rules of sluice.h for
 * changing it.
 */
final class FakeResident {
  private static final int NONE = -1;

  /** {@code [rope][seqSlot]}. */
  final double[][] frequencies;

  private final int maxAdditions;
  private final int[][][] tables; // [seqSlot][group][index]
  private final long[] promptCounts;
  private final long[] outputCounts;
  private final int[] additions;
  private final int[] last;
  // Numbers of the steps in which something was last a target, a source, or updated.
  private final int[] seqTarget;
  private final int[] seqSource;
  private final int[][] blockTarget;
  private final int[][] blockSource;
  private final int[][][] updated;
  private int stamp;
  private boolean clash;

  FakeResident(FakeSizes sizes, SchedulerLimits limits) {
    int slots = limits.maxSequences();
    int groups = sizes.groups();
    int blocks = (sizes.maxContext() + limits.blockSize() - 1) / limits.blockSize();
    maxAdditions =
        FakeModel.VOCAB <= sizes.maxContext() + 1 ? Integer.MAX_VALUE : sizes.maxContext() + 1;
    frequencies = new double[sizes.ropes()][slots];
    tables = new int[slots][groups][blocks];
    for (int[][] table : tables) {
      for (int[] row : table) {
        Arrays.fill(row, NONE);
      }
    }
    updated = new int[slots][groups][blocks];
    promptCounts = new long[slots];
    outputCounts = new long[slots];
    additions = new int[slots];
    last = new int[slots];
    Arrays.fill(last, NONE);
    seqTarget = new int[slots];
    seqSource = new int[slots];
    blockTarget = new int[groups][];
    blockSource = new int[groups][];
    for (int g = 0; g < groups; g++) {
      blockTarget[g] = new int[limits.numBlocks()[g]];
      blockSource[g] = new int[limits.numBlocks()[g]];
    }
  }

  /** Starts the changes of the next step. */
  void begin() {
    stamp++;
    clash = false;
  }

  private void target(int[] targets, int[] sources, int target) {
    check(targets[target] != stamp, "a target of state operations twice", target);
    targets[target] = stamp;
    clash |= sources[target] == stamp;
  }

  private void source(int[] targets, int[] sources, int source) {
    sources[source] = stamp;
    clash |= targets[source] == stamp;
  }

  /** Checks that nothing was both a source and a target of the step's state operations. */
  void checkSources() {
    check(!clash, "both source and target of state operations");
  }

  void reset(int target) {
    target(seqTarget, seqSource, target);
    for (int[] row : tables[target]) {
      Arrays.fill(row, NONE);
    }
    promptCounts[target] = 0;
    outputCounts[target] = 0;
    additions[target] = 0;
    last[target] = NONE;
  }

  void copy(int source, int target) {
    target(seqTarget, seqSource, target);
    source(seqTarget, seqSource, source);
    for (int g = 0; g < tables[target].length; g++) {
      System.arraycopy(tables[source][g], 0, tables[target][g], 0, tables[target][g].length);
    }
    promptCounts[target] = promptCounts[source];
    outputCounts[target] = outputCounts[source];
    additions[target] = additions[source];
    last[target] = last[source];
  }

  void copyBlock(int group, int source, int target) {
    target(blockTarget[group], blockSource[group], target);
    source(blockTarget[group], blockSource[group], source);
  }

  void zeroBlock(int group, int target) {
    target(blockTarget[group], blockSource[group], target);
  }

  void setBlock(int seq, int group, int index, int block) {
    check(updated[seq][group][index] != stamp, "a block table entry updated twice", index);
    updated[seq][group][index] = stamp;
    check(block >= NONE && block < blockTarget[group].length, "block", block);
    tables[seq][group][index] = block;
  }

  void count(int seq, int token, int promptDelta, int outputDelta) {
    check(token >= 0 && token < FakeModel.VOCAB, "counted token", token);
    promptCounts[seq] += promptDelta * FakeModel.counted(token);
    outputCounts[seq] += outputDelta * FakeModel.counted(token);
    if (promptDelta > 0 || outputDelta > 0) {
      add(seq);
    }
  }

  /** Notes that a row counted so many tokens, and what the counts of the output are now. */
  void countOutputs(int seq, int tokens, long counts) {
    outputCounts[seq] = counts;
    add(seq);
  }

  private void add(int seq) {
    check(++additions[seq] <= maxAdditions, "additions to counts since a reset", additions[seq]);
  }

  long promptCounts(int seq) {
    return promptCounts[seq];
  }

  long outputCounts(int seq) {
    return outputCounts[seq];
  }

  int block(int seq, int group, int index) {
    return tables[seq][group][index];
  }

  void setLast(int seq, int token) {
    last[seq] = token;
  }

  int last(int seq) {
    check(last[seq] != NONE, "no last token of seq_slot", seq);
    return last[seq];
  }
}

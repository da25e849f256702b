package ai.sluice.core.scheduler;

import static ai.sluice.core.scheduler.FakeStep.check;

import java.util.Arrays;
import java.util.List;

/**
 * Compares all books of a scheduler with what its sequences hold: every block is counted by exactly
 * those who use it and kept for at most one thing, no seq_slot and no block of its own serves two,
 * and what is promised is there. Over arrays, since it runs after every step of a simulation.
 */
final class BookCheck {
  private static final int BUCKETS = 4096;

  private final SchedulerLimits limits;
  private final int[][] references;
  private final int[] slotSeen;
  private final int[] blocksOfNodes;
  // The nodes known to the cache, and where each is found by identity.
  private PrefixNode[] nodes = new PrefixNode[256];
  private int[] holders = new int[256];
  private int[] children = new int[256];
  private int numNodes;
  private final int[] buckets = new int[BUCKETS];
  private final int[] bucketStamps = new int[BUCKETS];
  private int stamp;

  BookCheck(SchedulerLimits limits) {
    this.limits = limits;
    references = new int[limits.numBlocks().length][];
    for (int g = 0; g < references.length; g++) {
      references[g] = new int[limits.numBlocks()[g]];
    }
    slotSeen = new int[limits.maxSequences()];
    blocksOfNodes = new int[references.length];
  }

  /**
   * Checks everything.
   *
   * @param open every sequence that the scheduler was told of and that has not ended
   */
  void check(Scheduler scheduler, List<SimulatedCase> open) {
    stamp++;
    readNodes(scheduler);
    int running = 0;
    for (int i = 0; i < open.size(); i++) {
      Sequence s = open.get(i).sequence;
      if (s.state == Sequence.State.RUNNING) {
        running++;
        FakeStep.check(slotSeen[s.seqSlot] != stamp, "a seq_slot of two sequences", s.seqSlot);
        slotSeen[s.seqSlot] = stamp;
        FakeStep.check(
            !s.isPinned() || s.numPromised >= blocksFor(s.worstCasePositions()),
            "preempted three times, but without its worst case", s.numPromised);
      } else {
        FakeStep.check(s.numNodes == 0 && s.numBlocks == 0, "held by nobody");
      }
      FakeStep.check(s.numPreemptions <= 3, "preemptions", s.numPreemptions);
      for (int k = 0; k < s.numNodes; k++) {
        holders[indexOf(s.nodes[k])]++;
      }
    }
    FakeStep.check(running <= limits.maxSequences(), "running", running);
    checkNodes();
    for (int g = 0; g < references.length; g++) {
      checkPool(scheduler.pool(g), g, open);
    }
  }

  private int blocksFor(int positions) {
    return (positions + limits.blockSize() - 1) / limits.blockSize();
  }

  private void readNodes(Scheduler scheduler) {
    numNodes = 0;
    Arrays.fill(blocksOfNodes, 0);
    for (PrefixNode node : scheduler.prefixCache().nodes()) {
      if (numNodes == nodes.length) {
        nodes = Arrays.copyOf(nodes, 2 * numNodes);
        holders = Arrays.copyOf(holders, 2 * numNodes);
        children = Arrays.copyOf(children, 2 * numNodes);
        FakeStep.check(numNodes < BUCKETS / 2, "nodes", numNodes);
      }
      nodes[numNodes] = node;
      holders[numNodes] = 0;
      children[numNodes] = 0;
      int bucket = bucketOf(node);
      bucketStamps[bucket] = stamp;
      buckets[bucket] = numNodes++;
      for (int g = 0; g < blocksOfNodes.length; g++) {
        blocksOfNodes[g] += node.blocks[g] == PrefixNode.NONE ? 0 : 1;
      }
    }
  }

  /** Where a node lies, or the empty bucket where it would. */
  private int bucketOf(PrefixNode node) {
    int bucket = (System.identityHashCode(node) * 0x9E3779B1) >>> 20;
    while (bucketStamps[bucket] == stamp && nodes[buckets[bucket]] != node) {
      bucket = bucket + 1 & BUCKETS - 1;
    }
    return bucket;
  }

  private int indexOf(PrefixNode node) {
    int bucket = bucketOf(node);
    FakeStep.check(bucketStamps[bucket] == stamp, "a node that the cache does not know");
    return buckets[bucket];
  }

  private void checkNodes() {
    for (int i = 0; i < numNodes; i++) {
      PrefixNode node = nodes[i];
      FakeStep.check(!node.isUnused(), "a node that nothing needs");
      FakeStep.check(
          node.computer == null || node.computer.state == Sequence.State.RUNNING,
          "computed by a sequence that ended");
      if (node.parent != null) {
        children[indexOf(node.parent)]++;
      }
    }
    for (int i = 0; i < numNodes; i++) {
      FakeStep.check(holders[i] == nodes[i].numHolders, "holders of a node", holders[i]);
      FakeStep.check(children[i] == nodes[i].numChildren, "children of a node", children[i]);
    }
  }

  private void checkPool(BlockPool pool, int g, List<SimulatedCase> open) {
    int[] counted = references[g];
    Arrays.fill(counted, 0);
    int promised = 0;
    for (int i = 0; i < open.size(); i++) {
      Sequence s = open.get(i).sequence;
      if (s.state == Sequence.State.RUNNING) {
        promised += s.numPromised - s.numBlocks;
        for (int k = s.firstBlock[g]; k < s.numBlocks; k++) {
          counted[s.blocks[g][k]]++;
        }
      }
    }
    int used = 0;
    int published = 0;
    int kept = 0;
    for (int block = 0; block < counted.length; block++) {
      if (counted[block] != pool.references(block)) {
        throw new AssertionError(
            "block " + block + ": " + pool.references(block) + " references (counted: "
                + counted[block] + ")");
      }
      used += counted[block] > 0 ? 1 : 0;
      PrefixNode content = pool.content(block);
      if (content != null) {
        FakeStep.check(content.blocks[g] == block, "kept for a node that has another", block);
        indexOf(content);
        published++;
        kept += counted[block] == 0 ? 1 : 0;
      }
    }
    FakeStep.check(blocksOfNodes[g] == published, "blocks of nodes", blocksOfNodes[g]);
    FakeStep.check(used == pool.used(), "used", pool.used());
    FakeStep.check(pool.free() + pool.used() == pool.total(), "free", pool.free());
    FakeStep.check(kept == pool.cached(), "kept", pool.cached());
    FakeStep.check(promised == pool.promised(), "promised", pool.promised());
    FakeStep.check(used + promised <= pool.total(), "more is promised than is there", promised);
  }
}

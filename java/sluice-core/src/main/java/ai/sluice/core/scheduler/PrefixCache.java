package ai.sluice.core.scheduler;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Knows which blocks hold the state of which tokens. Full blocks are found by key; where the next
 * one differs, a block that begins with the same tokens is found by how it begins. Only blocks
 * whose step was applied are published, so what is found was computed. Not thread-safe.
 */
final class PrefixCache {
  /** How a block begins, after which prefix. That the tokens are equal is checked when found. */
  private record Opening(BlockKey parent, int firstTokens) {}

  private final int blockSize;
  private final int groups;
  private final int[] retention;
  private final int leastPartial;
  private final PrefixHasher hasher = new PrefixHasher();
  private final Map<BlockKey, PrefixNode> nodes = new HashMap<>();
  private final Map<Opening, PrefixNode> openings = new HashMap<>();
  private final int[] unbroken;
  private final List<PrefixNode> found = new ArrayList<>();

  /** The whole blocks found by {@link #match}. */
  int matchedBlocks;
  /** A complete block that begins with the tokens after these, or null. */
  @Nullable PrefixNode partial;
  /** How many tokens it begins with. */
  int partialTokens;
  /** The next block if a running sequence is computing it, or null; then nothing else counts. */
  @Nullable PrefixNode awaited;

  /** Creates an empty cache. */
  PrefixCache(SchedulerLimits limits) {
    blockSize = limits.blockSize();
    retention = limits.retention();
    groups = limits.numBlocks().length;
    unbroken = new int[groups];
    // Copying a block for a few tokens would cost more than computing them.
    leastPartial = Math.max(1, blockSize / 4);
  }

  /** Everything known, in no order. */
  Collection<PrefixNode> nodes() {
    return nodes.values();
  }

  /**
   * Finds the longest prefix of a waiting sequence, at most all that need not be computed for it,
   * of which every group still has what its layers see.
   */
  void match(Sequence sequence) {
    forget();
    Arrays.fill(unbroken, 0);
    int most = sequence.mostCached() / blockSize;
    for (int i = 0; i < most; i++) {
      PrefixNode node = nodes.get(sequence.keys[i]);
      if (node == null || !follow(node)) {
        break;
      }
      found.add(node);
      if (isEnough(i + 1)) {
        matchedBlocks = i + 1;
      }
    }
    PrefixNode next = matchedBlocks < sequence.keys.length
        ? nodes.get(sequence.keys[matchedBlocks])
        : null;
    if (next != null && next.computer != null && matchedBlocks < most) {
      awaited = next;
      return;
    }
    matchPartly(sequence, next);
  }

  /** Notes which groups have a node's block; false if one lacks it that sees everything. */
  private boolean follow(PrefixNode node) {
    for (int g = 0; g < groups; g++) {
      if (node.blocks[g] != PrefixNode.NONE) {
        unbroken[g]++;
      } else if (retention[g] == 0) {
        return false;
      } else {
        unbroken[g] = 0;
      }
    }
    return true;
  }

  private boolean isEnough(int blocks) {
    for (int g = 0; g < groups; g++) {
      if (unbroken[g] < blocks - firstNeeded(g, blocks * blockSize)) {
        return false;
      }
    }
    return true;
  }

  /** The first block that a group's layers still see from a position on. */
  int firstNeeded(int group, int position) {
    return retention[group] == 0
        ? 0
        : Math.max(0, position - retention[group] + 1) / blockSize;
  }

  private void matchPartly(Sequence sequence, @Nullable PrefixNode next) {
    int begin = matchedBlocks * blockSize;
    int most = Math.min(blockSize, sequence.mostCached() - begin);
    if (most < leastPartial) {
      return;
    }
    PrefixNode candidate = next;
    if (candidate == null || !candidate.isComplete()) {
      candidate =
          openings.get(
              new Opening(
                  sequence.keyBefore(matchedBlocks),
                  Sequence.hash(sequence.tokens(), begin, leastPartial)));
    }
    if (candidate == null || !candidate.isComplete()) {
      return;
    }
    int equal = 0;
    while (equal < most && candidate.tokens[equal] == sequence.token(begin + equal)) {
      equal++;
    }
    if (equal >= leastPartial) {
      partial = candidate;
      partialTokens = equal;
    }
  }

  /** Forgets the last match. */
  void forget() {
    found.clear();
    matchedBlocks = 0;
    partial = null;
    partialTokens = 0;
    awaited = null;
  }

  /** Takes the first blocks of a running sequence as what was found. */
  void follow(Sequence donor, int blocks) {
    for (int i = 0; i < blocks; i++) {
      found.add(donor.nodes[i]);
    }
    matchedBlocks = blocks;
  }

  /** Gives a sequence the keys of all its full blocks, for when it loses its nodes. */
  void extendKeys(Sequence sequence) {
    int known = sequence.keys.length;
    BlockKey[] keys = Arrays.copyOf(sequence.keys, sequence.numKnown / blockSize);
    for (int i = known; i < keys.length; i++) {
      keys[i] =
          i < sequence.numNodes
              ? sequence.nodes[i].key
              : hasher.next(
                  i == 0 ? sequence.keyBefore(0) : keys[i - 1],
                  sequence.tokens(),
                  i * blockSize,
                  blockSize);
    }
    sequence.keys = keys;
  }

  /** The node of a block found by the last match. */
  PrefixNode found(int index) {
    return found.get(index);
  }

  /** Makes an admitted sequence the holder of what was found and the computer of the rest. */
  void join(Sequence sequence) {
    int most = sequence.keys.length;
    for (int i = 0; i < most; i++) {
      PrefixNode node = i < matchedBlocks ? found.get(i) : node(sequence, sequence.keys[i]);
      hold(sequence, node);
      if (i >= matchedBlocks && node.computer == null && !node.isComplete()) {
        node.computer = sequence;
      }
    }
    found.clear();
  }

  /** The node of the next full block of a sequence that has no node for it yet. */
  void extend(Sequence sequence) {
    int begin = sequence.numNodes * blockSize;
    BlockKey key =
        hasher.next(
            sequence.keyBefore(sequence.numNodes), sequence.tokens(), begin, blockSize);
    hold(sequence, node(sequence, key));
  }

  private PrefixNode node(Sequence sequence, BlockKey key) {
    PrefixNode known = nodes.get(key);
    if (known != null) {
      return known;
    }
    int index = sequence.numNodes;
    int begin = index * blockSize;
    PrefixNode parent = index == 0 ? null : sequence.nodes[index - 1];
    PrefixNode node =
        new PrefixNode(
            key,
            sequence.keyBefore(index),
            parent,
            Arrays.copyOfRange(sequence.tokens(), begin, begin + blockSize),
            groups);
    if (parent != null) {
      parent.numChildren++;
    }
    nodes.put(key, node);
    return node;
  }

  private void hold(Sequence sequence, PrefixNode node) {
    node.numHolders++;
    sequence.nodes[sequence.numNodes++] = node;
  }

  /** Lets blocks that differ later be copied from a node that was published. */
  void open(PrefixNode node) {
    openings.put(opening(node), node);
  }

  private Opening opening(PrefixNode node) {
    return new Opening(node.parentKey, Sequence.hash(node.tokens, 0, leastPartial));
  }

  /** Ends a sequence's hold on its nodes, and what it was to compute. */
  void leave(Sequence sequence) {
    while (sequence.numNodes > 0) {
      PrefixNode node = sequence.nodes[--sequence.numNodes];
      if (node.computer == sequence) {
        node.computer = null;
      }
      node.numHolders--;
      prune(node);
    }
  }

  /** Forgets a node that nothing needs, and what led to it alone. */
  void prune(PrefixNode node) {
    PrefixNode at = node;
    while (at != null && at.isUnused()) {
      nodes.remove(at.key);
      openings.remove(opening(at), at);
      at = at.parent;
      if (at != null) {
        at.numChildren--;
      }
    }
  }
}

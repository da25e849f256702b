package ai.sluice.core.scheduler;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * One full block of tokens after a certain prefix, and where each kv group keeps its state, as far
 * as it is kept. A node without blocks is one that a sequence is computing, or lies between the
 * root and blocks that are kept.
 */
final class PrefixNode {
  /** Stands for a group that keeps nothing. */
  static final int NONE = -1;

  final BlockKey key;
  final BlockKey parentKey;
  final @Nullable PrefixNode parent;
  final int[] tokens;
  /** Block of each group, or {@link #NONE}. */
  final int[] blocks;

  int numChildren;
  /** Sequences whose tables have this block of tokens. */
  int numHolders;
  /** The running sequence whose computing of it others wait for. */
  @Nullable Sequence computer;

  PrefixNode(
      BlockKey key, BlockKey parentKey, @Nullable PrefixNode parent, int[] tokens, int groups) {
    this.key = key;
    this.parentKey = parentKey;
    this.parent = parent;
    this.tokens = tokens;
    blocks = new int[groups];
    Arrays.fill(blocks, NONE);
  }

  /** Whether no group lacks its block. */
  boolean isComplete() {
    for (int block : blocks) {
      if (block == NONE) {
        return false;
      }
    }
    return true;
  }

  /** Whether nothing needs the node. */
  boolean isUnused() {
    if (numChildren > 0 || numHolders > 0) {
      return false;
    }
    for (int block : blocks) {
      if (block != NONE) {
        return false;
      }
    }
    return true;
  }
}

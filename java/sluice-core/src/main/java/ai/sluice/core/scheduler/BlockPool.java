package ai.sluice.core.scheduler;

import java.util.Arrays;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The books of one kv group's blocks: how many sequences use each, which are free, which are kept
 * for their content, and how many are promised to running sequences. Not thread-safe.
 *
 * <p>Blocks are promised before they are allocated, and never more than no sequence uses, so an
 * allocation never fails: what no sequence uses is either free or can be evicted. Freed blocks are
 * handed out again last in, first out: steps run in the order of submit, so a step that still
 * writes a freed block has run before its next owner's.
 *
 * <p>A block that nobody uses but whose content is published stays, and is evicted when no block is
 * free, the one longest unused first.
 */
public final class BlockPool {
  private static final int NONE = -1;

  private final int group;
  private final Consumer<PrefixNode> evicted;
  private final int[] free;
  private final int[] references;
  private final @Nullable PrefixNode[] contents;
  // The list of kept blocks that nobody uses, from the one longest unused; entry numBlocks is both
  // its head and its tail.
  private final int[] previous;
  private final int[] next;
  private int numFree;
  private int numUsed;
  private int numPromised;
  private long numEvictions;

  /** Creates a pool of {@code numBlocks} free blocks, numbered from 0, that keeps no content. */
  public BlockPool(int numBlocks) {
    this(0, numBlocks, node -> {});
  }

  /**
   * Creates a pool of free blocks.
   *
   * @param group whose blocks these are, an index into {@link PrefixNode#blocks}
   * @param numBlocks blocks, numbered from 0
   * @param evicted told of a node that lost its block of this group
   */
  BlockPool(int group, int numBlocks, Consumer<PrefixNode> evicted) {
    this.group = group;
    this.evicted = evicted;
    free = new int[numBlocks];
    references = new int[numBlocks];
    contents = new PrefixNode[numBlocks];
    previous = new int[numBlocks + 1];
    next = new int[numBlocks + 1];
    Arrays.fill(previous, NONE);
    Arrays.fill(next, NONE);
    previous[numBlocks] = numBlocks;
    next[numBlocks] = numBlocks;
    numFree = numBlocks;
    for (int i = 0; i < numBlocks; i++) {
      free[i] = numBlocks - 1 - i;
    }
  }

  /** Blocks in the pool. */
  public int total() {
    return free.length;
  }

  /** Blocks that no sequence uses, kept ones included. */
  public int free() {
    return free.length - numUsed;
  }

  /** Blocks that sequences use. */
  public int used() {
    return numUsed;
  }

  /** Blocks that no sequence uses and that are kept for their content. */
  public int cached() {
    return free.length - numUsed - numFree;
  }

  /** Blocks promised and not allocated yet. */
  public int promised() {
    return numPromised;
  }

  /** Blocks that no sequence uses and that are promised to none. */
  public int available() {
    return free.length - numUsed - numPromised;
  }

  /** Kept blocks that were given up so far. */
  public long evictions() {
    return numEvictions;
  }

  /** How many sequences use a block. */
  int references(int block) {
    return references[block];
  }

  /** What a block is kept for, or null. */
  @Nullable PrefixNode content(int block) {
    return contents[block];
  }

  /** Promises blocks that are available. */
  void promise(int blocks) {
    if (blocks > available()) {
      throw new IllegalStateException(
          "blocks: " + blocks + " promised (expected: at most " + available() + ")");
    }
    numPromised += blocks;
  }

  /** Takes a promise back. */
  void forgo(int blocks) {
    if (blocks > numPromised) {
      throw new IllegalStateException(
          "blocks: " + blocks + " forgone (expected: at most the " + numPromised + " promised)");
    }
    numPromised -= blocks;
  }

  /** Makes a promised block one that a sequence uses. */
  int allocate() {
    if (numPromised == 0) {
      throw new IllegalStateException("block: allocated (expected: promised before)");
    }
    numPromised--;
    if (numFree == 0) {
      evict();
    }
    int block = free[--numFree];
    references[block] = 1;
    numUsed++;
    return block;
  }

  private void evict() {
    int block = next[free.length];
    PrefixNode node = contents[block];
    unpublish(block);
    numEvictions++;
    evicted.accept(node);
  }

  /** Lets one more sequence use a block that is in use, or one that is kept and not promised. */
  void retain(int block) {
    if (references[block] == 0) {
      if (available() == 0) {
        throw new IllegalStateException("block " + block + ": all that are left are promised");
      }
      if (contents[block] == null) {
        throw new IllegalStateException("block " + block + ": free (expected: kept or in use)");
      }
      unlink(block);
      numUsed++;
    }
    references[block]++;
  }

  /** Ends one sequence's use of a block. */
  void release(int block) {
    if (references[block] == 0) {
      throw new IllegalStateException("block " + block + ": free (expected: in use)");
    }
    if (--references[block] > 0) {
      return;
    }
    numUsed--;
    if (contents[block] == null) {
      free[numFree++] = block;
    } else {
      append(block);
    }
  }

  /** Keeps a block in use for its content. */
  void publish(int block, PrefixNode node) {
    if (references[block] == 0 || contents[block] != null) {
      throw new IllegalStateException(
          "block " + block + ": free, or published already (expected: neither)");
    }
    contents[block] = node;
    node.blocks[group] = block;
  }

  /** Keeps a block no longer. */
  void unpublish(int block) {
    PrefixNode node = contents[block];
    if (node == null) {
      throw new IllegalStateException("block " + block + ": not published");
    }
    contents[block] = null;
    node.blocks[group] = PrefixNode.NONE;
    if (references[block] == 0) {
      unlink(block);
      free[numFree++] = block;
    }
  }

  /** Counts a kept block as used just now. */
  void touch(int block) {
    if (references[block] == 0) {
      unlink(block);
      append(block);
    }
  }

  private void append(int block) {
    int tail = previous[free.length];
    previous[block] = tail;
    next[block] = free.length;
    next[tail] = block;
    previous[free.length] = block;
  }

  private void unlink(int block) {
    next[previous[block]] = next[block];
    previous[next[block]] = previous[block];
    previous[block] = NONE;
    next[block] = NONE;
  }
}

package ai.sluice.core.scheduler;

/**
 * The books of one kv group's blocks: which are free, which are in use, and how many running
 * sequences may still claim. Not thread-safe.
 *
 * <p>A sequence reserves its worst case when it is admitted and allocates as it grows, so an
 * allocation never fails. Freed blocks are handed out again last in, first out: steps run in the
 * order of submit, so a step that still writes a freed block has run before its next owner's.
 */
public final class BlockPool {
  private final int[] free;
  private final boolean[] used;
  private int numFree;
  private int numReserved;

  /** Creates a pool of {@code numBlocks} free blocks, numbered from 0. */
  public BlockPool(int numBlocks) {
    free = new int[numBlocks];
    used = new boolean[numBlocks];
    numFree = numBlocks;
    for (int i = 0; i < numBlocks; i++) {
      free[i] = numBlocks - 1 - i;
    }
  }

  /** Blocks in the pool. */
  public int total() {
    return free.length;
  }

  /** Blocks not in use. */
  public int free() {
    return numFree;
  }

  /** Blocks in use. */
  public int used() {
    return free.length - numFree;
  }

  /** Blocks reserved, in use or not. */
  public int reserved() {
    return numReserved;
  }

  /** Reserves {@code blocks} if that many are unreserved. */
  boolean reserve(int blocks) {
    if (blocks > free.length - numReserved) {
      return false;
    }
    numReserved += blocks;
    return true;
  }

  /** Gives a reservation back; its blocks must have been released. */
  void unreserve(int blocks) {
    numReserved -= blocks;
    if (numReserved < used()) {
      throw new IllegalStateException(
          "reserved blocks: " + numReserved + " (expected: at least the " + used() + " in use)");
    }
  }

  /** Takes a block out of a reservation. */
  int allocate() {
    if (used() >= numReserved) {
      throw new IllegalStateException(
          "blocks in use: " + used() + " (expected: fewer than the " + numReserved + " reserved)");
    }
    int block = free[--numFree];
    used[block] = true;
    return block;
  }

  /** Frees a block; its reservation stays until {@link #unreserve}. */
  void release(int block) {
    if (!used[block]) {
      throw new IllegalStateException("block " + block + ": free (expected: in use)");
    }
    used[block] = false;
    free[numFree++] = block;
  }
}

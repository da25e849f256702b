package ai.sluice.core.scheduler;

import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_BLOCK_UPDATE;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_STATE_OP;
import static ai.sluice.jni.SluiceAbi.SLUICE_STATE_OP_COPY_BLOCK;

import org.jspecify.annotations.Nullable;

/**
 * Gives running sequences their blocks: found ones first, then new ones as they grow. Not
 * thread-safe.
 *
 * <p>What the engine must know of a table is sent before the tokens that need it, over several
 * steps where a message takes no more.
 */
final class BlockTables {
  /** How an admission went. */
  enum Admission {
    ADMITTED,
    /** What it needs is not available now. */
    NO_ROOM,
    /** A running sequence is computing what comes next in the prompt. */
    AWAITS_PREFIX
  }

  private static final int NOT_HELD = -1;

  private final SchedulerLimits limits;
  private final int groups;
  private final int blockSize;
  private final BlockPool[] pools;
  private final PrefixCache cache;
  // Sources of copies of the step being planned: they must not become targets in it.
  private final int[] pinned;
  private int numPinned;

  BlockTables(SchedulerLimits limits) {
    this.limits = limits;
    groups = limits.numBlocks().length;
    blockSize = limits.blockSize();
    cache = new PrefixCache(limits);
    pools = new BlockPool[groups];
    for (int g = 0; g < groups; g++) {
      pools[g] = new BlockPool(g, limits.numBlocks()[g], cache::prune);
    }
    pinned = new int[limits.maxSequences() * groups];
  }

  BlockPool pool(int group) {
    return pools[group];
  }

  PrefixCache cache() {
    return cache;
  }

  int blocksFor(int positions) {
    return (positions + blockSize - 1) / blockSize;
  }

  /**
   * Gives a waiting sequence what is found of its tokens, and promises what it needs for the rest
   * of those known and the next one; or its worst case, if it was preempted too often.
   *
   * @param watermark blocks of each group to leave for running sequences to grow
   */
  Admission admit(Sequence sequence, int watermark, StepMessage message) {
    int worstCase = blocksFor(sequence.worstCasePositions());
    int needed =
        sequence.isPinned()
            ? worstCase
            : Math.min(worstCase, blocksFor(sequence.numKnown + 1));
    boolean copies = false;
    int matchedBlocks = 0;
    if (sequence.isCached()) {
      cache.match(sequence);
      if (cache.awaited != null) {
        sequence.awaited = cache.awaited;
        return Admission.AWAITS_PREFIX;
      }
      matchedBlocks = cache.matchedBlocks;
      copies = canCopy(needed, watermark, message);
    } else {
      cache.forget();
    }
    if (!copies && !fits(needed, watermark, null)) {
      return Admission.NO_ROOM;
    }
    int matched = matchedBlocks * blockSize + (copies ? cache.partialTokens : 0);
    sequence.blocks = new int[groups][worstCase];
    sequence.firstBlock = new int[groups];
    sequence.nodes = new PrefixNode[sequence.isCached() ? worstCase : 0];
    sequence.numBlocks = matchedBlocks;
    sequence.cachedTokens = matched;
    sequence.numPlanned = matched;
    sequence.numComputed = matched;
    sequence.numPublished = matchedBlocks;
    sequence.numSent = matchedBlocks;
    if (sequence.isCached()) {
      // Held before anything is allocated, so that nothing of it is evicted.
      retain(sequence, matched, copies);
      cache.join(sequence);
    }
    sequence.numPromised = needed;
    for (BlockPool pool : pools) {
      pool.promise(needed - matchedBlocks);
    }
    if (copies) {
      copy(sequence, message);
      sequence.numBlocks++;
    }
    return Admission.ADMITTED;
  }

  private boolean canCopy(int needed, int watermark, StepMessage message) {
    return cache.partial != null
        && message.remaining(SLUICE_SECTION_STATE_OP) >= 1 + groups
        && fits(needed, watermark, cache.partial);
  }

  /** Whether there is room for what was not found, and what was found can be taken into use. */
  private boolean fits(int needed, int watermark, @Nullable PrefixNode source) {
    int matched = cache.matchedBlocks;
    int position = matched * blockSize + (source == null ? 0 : cache.partialTokens);
    for (int g = 0; g < groups; g++) {
      int taken = needed - matched + watermark;
      for (int i = cache.firstNeeded(g, position); i < matched; i++) {
        taken += pools[g].references(cache.found(i).blocks[g]) == 0 ? 1 : 0;
      }
      if (source != null && pools[g].references(source.blocks[g]) == 0) {
        taken++;
      }
      if (taken > pools[g].available()) {
        return false;
      }
    }
    return true;
  }

  /** Promises a running sequence so many blocks in all; false if there is no room. */
  boolean promise(Sequence sequence, int blocks) {
    int more = blocks - sequence.numPromised;
    if (more <= 0) {
      return true;
    }
    for (BlockPool pool : pools) {
      if (more > pool.available()) {
        return false;
      }
    }
    for (BlockPool pool : pools) {
      pool.promise(more);
    }
    sequence.numPromised = blocks;
    return true;
  }

  private void retain(Sequence sequence, int matched, boolean copies) {
    for (int g = 0; g < groups; g++) {
      int first = cache.firstNeeded(g, matched);
      sequence.firstBlock[g] = first;
      sequence.numSent = Math.min(sequence.numSent, first);
      for (int i = 0; i < cache.matchedBlocks; i++) {
        int block = i < first ? NOT_HELD : cache.found(i).blocks[g];
        sequence.blocks[g][i] = block;
        if (block != NOT_HELD) {
          pools[g].retain(block);
        }
      }
      if (copies) {
        int source = cache.partial.blocks[g];
        pools[g].retain(source);
        pinned[numPinned++] = source;
      }
    }
  }

  private void copy(Sequence sequence, StepMessage message) {
    for (int g = 0; g < groups; g++) {
      int target = pools[g].allocate();
      sequence.blocks[g][cache.matchedBlocks] = target;
      message.addStateOp(SLUICE_STATE_OP_COPY_BLOCK, g, cache.partial.blocks[g], target);
    }
  }

  /** Lets go of what only the planning of one step had to keep. */
  void endStep() {
    for (int i = 0; i < numPinned; i++) {
      pools[i % groups].release(pinned[i]);
    }
    numPinned = 0;
  }

  /** Sends the table of what was found; false if some of it has to wait for the next step. */
  boolean send(Sequence sequence, StepMessage message) {
    while (sequence.numSent < sequence.numBlocks) {
      if (message.remaining(SLUICE_SECTION_BLOCK_UPDATE) < groups) {
        return false;
      }
      int index = sequence.numSent++;
      for (int g = 0; g < groups; g++) {
        if (index >= sequence.firstBlock[g]) {
          message.addBlockUpdate(sequence.seqSlot, g, index, sequence.blocks[g][index]);
        }
      }
    }
    return true;
  }

  /**
   * Frees blocks that no later token reads, as far as the message takes it. Blocks whose step was
   * not applied yet stay, so that they can be published first.
   */
  void freePassed(Sequence sequence, StepMessage message) {
    for (int g = 0; g < groups; g++) {
      int needed =
          Math.min(cache.firstNeeded(g, sequence.numPlanned), sequence.numComputed / blockSize);
      while (sequence.firstBlock[g] < needed
          && message.remaining(SLUICE_SECTION_BLOCK_UPDATE) > groups) {
        int index = sequence.firstBlock[g]++;
        message.addBlockUpdate(sequence.seqSlot, g, index, NOT_HELD);
        pools[g].release(sequence.blocks[g][index]);
        sequence.blocks[g][index] = NOT_HELD;
      }
    }
  }

  /** Positions a sequence can grow by with the block updates that a message still takes. */
  int positionsWithin(Sequence sequence, StepMessage message) {
    long blocks =
        sequence.numBlocks + (long) message.remaining(SLUICE_SECTION_BLOCK_UPDATE) / groups;
    return (int) Math.min(Integer.MAX_VALUE, blocks * blockSize - sequence.numPlanned);
  }

  /** Makes sure that a sequence has the block of a position, the next one at most. */
  void reach(Sequence sequence, int position, StepMessage message) {
    int index = position / blockSize;
    if (index < sequence.numBlocks) {
      return;
    }
    for (int g = 0; g < groups; g++) {
      int block = pools[g].allocate();
      sequence.blocks[g][index] = block;
      message.addBlockUpdate(sequence.seqSlot, g, index, block);
    }
    sequence.numBlocks++;
    sequence.numSent++;
  }

  /** Says where a position of the token added last lies. */
  void setKvSlots(Sequence sequence, int position, StepMessage message) {
    int index = position / blockSize;
    for (int g = 0; g < groups; g++) {
      message.setKvSlot(g, sequence.blocks[g][index] * blockSize + position % blockSize);
    }
  }

  /** A step that computed the positions up to {@code end} was applied: full blocks can be found. */
  void computed(Sequence sequence, int end) {
    sequence.numComputed = end;
    if (!sequence.isCached()) {
      return;
    }
    while ((sequence.numPublished + 1) * blockSize <= end) {
      int index = sequence.numPublished++;
      if (index == sequence.numNodes) {
        cache.extend(sequence);
      }
      PrefixNode node = sequence.nodes[index];
      for (int g = 0; g < groups; g++) {
        int block = sequence.blocks[g][index];
        if (block != NOT_HELD && node.blocks[g] == PrefixNode.NONE) {
          pools[g].publish(block, node);
        }
      }
      if (node.computer == sequence || node.isComplete()) {
        node.computer = null;
      }
      cache.open(node);
    }
  }

  /** Forgets what may hold values that are not finite. */
  void distrust(Sequence sequence) {
    for (int i = 0; i < Math.min(sequence.numPublished, sequence.numNodes); i++) {
      PrefixNode node = sequence.nodes[i];
      for (int g = 0; g < groups; g++) {
        if (node.blocks[g] != PrefixNode.NONE) {
          pools[g].unpublish(node.blocks[g]);
        }
      }
    }
  }

  /**
   * Takes a running sequence's blocks back; those that were published stay, and keys of all it
   * knows are kept for when it is admitted again.
   */
  void preempt(Sequence sequence) {
    if (sequence.isCached()) {
      cache.extendKeys(sequence);
    }
    release(sequence);
  }

  /** Takes a sequence's blocks back; those that were published stay. */
  void release(Sequence sequence) {
    // From the end, so that of blocks unused equally long the last one is evicted first: without
    // those before it, it could not be found.
    for (int i = Math.max(sequence.numBlocks, sequence.numNodes) - 1; i >= 0; i--) {
      for (int g = 0; g < groups; g++) {
        int own = i < sequence.numBlocks ? sequence.blocks[g][i] : NOT_HELD;
        if (own != NOT_HELD) {
          pools[g].release(own);
        }
        int kept = i < sequence.numNodes ? sequence.nodes[i].blocks[g] : PrefixNode.NONE;
        if (kept != PrefixNode.NONE && kept != own) {
          pools[g].touch(kept);
        }
      }
    }
    for (BlockPool pool : pools) {
      pool.forgo(sequence.numPromised - sequence.numBlocks);
    }
    sequence.numBlocks = 0;
    cache.leave(sequence);
  }

  long used() {
    long used = 0;
    for (BlockPool pool : pools) {
      used += pool.used();
    }
    return used;
  }

  long cached() {
    long cached = 0;
    for (BlockPool pool : pools) {
      cached += pool.cached();
    }
    return cached;
  }

  long evictions() {
    long evictions = 0;
    for (BlockPool pool : pools) {
      evictions += pool.evictions();
    }
    return evictions;
  }
}

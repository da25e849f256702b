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

  // What the sequence being admitted begins with: whole blocks, and part of one to be copied.
  private int matchedBlocks;
  private int partialTokens;
  /** Whose blocks these are; null: the prefix cache's. */
  private @Nullable Sequence donor;

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
   * Whether a running sequence can give a waiting one, whose prompt is the same, the state of all
   * of it but the last token.
   */
  boolean canGive(Sequence donor, Sequence sequence) {
    if (!donor.sharesWith(sequence)) {
      return false;
    }
    for (int g = 0; g < groups; g++) {
      if (donor.firstBlock[g] > cache.firstNeeded(g, sequence.mostCached())) {
        return false;
      }
    }
    return true;
  }

  /**
   * Gives a waiting sequence what is found of its tokens, or what its leader has, and promises what
   * it needs for the rest of those known and the next one; or its worst case, if it was preempted
   * too often.
   *
   * @param watermark blocks of each group to leave for running sequences to grow
   */
  Admission admit(Sequence sequence, int watermark, StepMessage message) {
    int worstCase = blocksFor(sequence.worstCasePositions());
    int needed =
        sequence.isPinned()
            ? worstCase
            : Math.min(worstCase, blocksFor(sequence.numKnown + 1));
    if (!find(sequence)) {
      sequence.awaited = cache.awaited;
      return Admission.AWAITS_PREFIX;
    }
    boolean copies = partialTokens > 0 && canCopy(needed, watermark, message);
    if (!copies && (donor != null && partialTokens > 0 || !fits(needed, watermark, false))) {
      return Admission.NO_ROOM;
    }
    int matched = matchedBlocks * blockSize + (copies ? partialTokens : 0);
    sequence.blocks = new int[groups][worstCase];
    sequence.firstBlock = new int[groups];
    sequence.nodes = new PrefixNode[sequence.isCached() ? worstCase : 0];
    sequence.numBlocks = matchedBlocks;
    sequence.cachedTokens = matched;
    sequence.numPlanned = matched;
    sequence.numComputed = matched;
    sequence.numPublished = matchedBlocks;
    sequence.numSent = matchedBlocks;
    // Held before anything is allocated, so that nothing of it is evicted.
    retain(sequence, matched, copies);
    if (sequence.isCached()) {
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
    sequence.leaveLeader();
    donor = null;
    return Admission.ADMITTED;
  }

  /** Finds blocks for a sequence to begin with; false if it awaits one. */
  private boolean find(Sequence sequence) {
    cache.forget();
    donor = sequence.leader;
    if (donor != null) {
      matchedBlocks = sequence.mostCached() / blockSize;
      partialTokens = sequence.mostCached() % blockSize;
      if (sequence.isCached()) {
        cache.follow(donor, matchedBlocks);
      }
      return true;
    }
    if (sequence.isCached()) {
      cache.match(sequence);
    }
    matchedBlocks = cache.matchedBlocks;
    partialTokens = cache.partialTokens;
    return cache.awaited == null;
  }

  private int foundBlock(int group, int index) {
    return donor == null ? cache.found(index).blocks[group] : donor.blocks[group][index];
  }

  /** The block that begins with the tokens after the blocks found. */
  private int partialBlock(int group) {
    return donor == null ? cache.partial.blocks[group] : donor.blocks[group][matchedBlocks];
  }

  private boolean canCopy(int needed, int watermark, StepMessage message) {
    return message.remaining(SLUICE_SECTION_STATE_OP) >= 1 + groups
        && fits(needed, watermark, true);
  }

  /** Whether there is room for what was not found, and what was found can be taken into use. */
  private boolean fits(int needed, int watermark, boolean copies) {
    int position = matchedBlocks * blockSize + (copies ? partialTokens : 0);
    for (int g = 0; g < groups; g++) {
      int taken = needed - matchedBlocks + watermark;
      for (int i = cache.firstNeeded(g, position); i < matchedBlocks; i++) {
        taken += pools[g].references(foundBlock(g, i)) == 0 ? 1 : 0;
      }
      if (copies && pools[g].references(partialBlock(g)) == 0) {
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
    return promise(sequence, blocks, 0);
  }

  /**
   * Promises a running sequence so many blocks in all.
   *
   * @param watermark blocks of each group to leave
   * @return false if there is no room
   */
  boolean promise(Sequence sequence, int blocks, int watermark) {
    int more = blocks - sequence.numPromised;
    if (more <= 0) {
      return true;
    }
    for (BlockPool pool : pools) {
      if (more + watermark > pool.available()) {
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
      for (int i = 0; i < matchedBlocks; i++) {
        int block = i < first ? NOT_HELD : foundBlock(g, i);
        sequence.blocks[g][i] = block;
        if (block != NOT_HELD) {
          pools[g].retain(block);
        }
      }
      if (copies) {
        int source = partialBlock(g);
        pools[g].retain(source);
        pinned[numPinned++] = source;
      }
    }
  }

  private void copy(Sequence sequence, StepMessage message) {
    for (int g = 0; g < groups; g++) {
      int target = pools[g].allocate();
      sequence.blocks[g][matchedBlocks] = target;
      message.addStateOp(SLUICE_STATE_OP_COPY_BLOCK, g, partialBlock(g), target);
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
   * Frees blocks that no later token reads, its own or a fork's, as far as the message takes it.
   * Blocks whose step was not applied yet stay, so that they can be published first.
   */
  void freePassed(Sequence sequence, StepMessage message) {
    int from =
        sequence.numForks == 0
            ? sequence.numPlanned
            : Math.min(sequence.numPlanned, sequence.promptLength - 1);
    for (int g = 0; g < groups; g++) {
      int needed = Math.min(cache.firstNeeded(g, from), sequence.numComputed / blockSize);
      while (sequence.firstBlock[g] < needed
          && message.remaining(SLUICE_SECTION_BLOCK_UPDATE) > groups) {
        int index = sequence.firstBlock[g]++;
        message.addBlockUpdate(sequence.seqSlot, g, index, NOT_HELD);
        pools[g].release(sequence.blocks[g][index]);
        sequence.blocks[g][index] = NOT_HELD;
      }
    }
  }

  /** Positions that a running sequence has blocks or promises for. */
  int positionsPromised(Sequence sequence) {
    return sequence.numPromised * blockSize;
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

package ai.sluice.core.scheduler;

/**
 * Finds where a run of {@code n} tokens stood last in a growing list of tokens. Constant time per
 * token; allocates only to grow, or to part from an index that it shares with. Not thread-safe.
 */
final class NgramIndex {
  /** Stands for a run that did not occur before. */
  static final int NOT_FOUND = -1;

  private static final int LEAST_SLOTS = 64;

  private final int n;
  /** Positions after runs, plus 1; 0: empty. Linear probing, at most half full. */
  private int[] slots = new int[LEAST_SLOTS];

  /** Whether another index has the same slots, so that nobody may write them. */
  private boolean shared;

  private int numRuns;
  /** Runs that end before this position are in the index. */
  private int indexed;

  NgramIndex(int n) {
    this.n = n;
    indexed = n;
  }

  /** One that knows the same, and shares memory with this one until either learns more. */
  NgramIndex fork() {
    NgramIndex fork = new NgramIndex(n);
    shared = true;
    fork.shared = true;
    fork.slots = slots;
    fork.numRuns = numRuns;
    fork.indexed = indexed;
    return fork;
  }

  /** Adds the runs that a token of the first {@code length} follows. */
  void extend(int[] tokens, int length) {
    for (; indexed < length; indexed++) {
      if (2 * (numRuns + 1) > slots.length) {
        grow(tokens);
      } else if (shared) {
        slots = slots.clone();
      }
      shared = false;
      put(tokens, indexed);
    }
  }

  /** The position after the last earlier place of the run that ends before {@code length}. */
  int find(int[] tokens, int length) {
    return length < n ? NOT_FOUND : slots[slotOf(tokens, length)] - 1;
  }

  private void put(int[] tokens, int after) {
    int slot = slotOf(tokens, after);
    if (slots[slot] == 0) {
      numRuns++;
    }
    slots[slot] = after + 1;
  }

  private void grow(int[] tokens) {
    int[] old = slots;
    slots = new int[2 * old.length];
    numRuns = 0;
    for (int entry : old) {
      if (entry != 0) {
        put(tokens, entry - 1);
      }
    }
  }

  /** The slot of the run that ends before a position: its own, or an empty one. */
  private int slotOf(int[] tokens, int after) {
    int begin = after - n;
    int hash = 0;
    for (int i = begin; i < after; i++) {
      hash = (hash + tokens[i]) * 0x9E3779B1;
      hash ^= hash >>> 15;
    }
    int slot = hash & (slots.length - 1);
    while (slots[slot] != 0 && !equal(tokens, slots[slot] - 1 - n, begin)) {
      slot = (slot + 1) & (slots.length - 1);
    }
    return slot;
  }

  private boolean equal(int[] tokens, int a, int b) {
    for (int i = 0; i < n; i++) {
      if (tokens[a + i] != tokens[b + i]) {
        return false;
      }
    }
    return true;
  }
}

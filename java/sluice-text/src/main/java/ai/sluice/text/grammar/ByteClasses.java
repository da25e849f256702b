package ai.sluice.text.grammar;

/**
 * Bytes that no edge tells apart share a class: ranges, in order, so that tables have a column for
 * each class instead of 256.
 */
final class ByteClasses {
  /** Class of each byte. */
  final int[] of = new int[256];

  private final int[] lows = new int[256];
  private final boolean[] spellable = new boolean[256];
  private final int count;

  /**
   * Makes the classes.
   *
   * @param begins 257 flags: whether a range begins at a byte
   * @param tokens bytes that are no token of theirs get classes of their own
   */
  ByteClasses(boolean[] begins, TokenTable tokens) {
    int next = -1;
    for (int b = 0; b < 256; b++) {
      boolean can = tokens.isSpellable(b);
      if (b == 0 || begins[b] || can != tokens.isSpellable(b - 1)) {
        next++;
        lows[next] = b;
        spellable[next] = can;
      }
      of[b] = next;
    }
    count = next + 1;
  }

  int count() {
    return count;
  }

  int low(int c) {
    return lows[c];
  }

  int high(int c) {
    return c + 1 == count ? 255 : lows[c + 1] - 1;
  }

  /** Whether each byte of the class is a token. */
  boolean isSpellable(int c) {
    return spellable[c];
  }
}

package ai.sluice.text;

/**
 * GPT-2's alphabet of 256 visible characters, one for each byte: printable Latin-1 characters stand
 * for themselves, the others for U+0100 and following, in order.
 */
final class ByteLevelAlphabet {
  private static final char[] CHARS = new char[256];
  private static final short[] BYTES = new short[0x144];

  static {
    java.util.Arrays.fill(BYTES, (short) -1);
    int next = 0x100;
    for (int b = 0; b < 256; b++) {
      boolean printable = b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE;
      CHARS[b] = (char) (printable ? b : next++);
      BYTES[CHARS[b]] = (short) b;
    }
  }

  private ByteLevelAlphabet() {}

  /** The byte that a character stands for, or -1 if it is not in the alphabet. */
  static int byteOf(char c) {
    return c < BYTES.length ? BYTES[c] : -1;
  }

  /** The character that stands for a byte. */
  static char charOf(int b) {
    return CHARS[b];
  }
}

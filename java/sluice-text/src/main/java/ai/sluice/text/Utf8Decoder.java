package ai.sluice.text;

/**
 * Turns bytes into text, one byte at a time, holding back a character until it is whole. A byte
 * that cannot continue what came before makes one U+FFFD of that prefix (Unicode's "maximal
 * subpart" practice, which Java, Rust and browsers share). Not thread-safe.
 */
final class Utf8Decoder {
  private static final char REPLACEMENT = '\uFFFD';

  private final StringBuilder out = new StringBuilder();
  private int codePoint;
  private int missing;
  private int lowest;
  private int highest;

  /** Takes whole characters. */
  void text(String text) {
    if (!text.isEmpty()) {
      // A whole text ends what was pending: its first byte is no continuation byte.
      flush();
      out.append(text);
    }
  }

  /** Takes one byte, 0 to 255. */
  void one(int b) {
    if (missing > 0) {
      if (b >= lowest && b <= highest) {
        codePoint = codePoint << 6 | b & 0x3F;
        lowest = 0x80;
        highest = 0xBF;
        if (--missing == 0) {
          out.appendCodePoint(codePoint);
        }
        return;
      }
      flush();
    }
    if (b < 0x80) {
      out.append((char) b);
    } else if (b >= 0xC2 && b <= 0xDF) {
      start(b & 0x1F, 1, 0x80, 0xBF);
    } else if (b >= 0xE0 && b <= 0xEF) {
      // E0 must not be overlong, ED must not make a surrogate.
      start(b & 0x0F, 2, b == 0xE0 ? 0xA0 : 0x80, b == 0xED ? 0x9F : 0xBF);
    } else if (b >= 0xF0 && b <= 0xF4) {
      start(b & 0x07, 3, b == 0xF0 ? 0x90 : 0x80, b == 0xF4 ? 0x8F : 0xBF);
    } else {
      out.append(REPLACEMENT);
    }
  }

  private void start(int bits, int continuationBytes, int low, int high) {
    codePoint = bits;
    missing = continuationBytes;
    lowest = low;
    highest = high;
  }

  private void flush() {
    if (missing > 0) {
      missing = 0;
      out.append(REPLACEMENT);
    }
  }

  /** The text known since the last call. */
  String take() {
    String text = out.toString();
    out.setLength(0);
    return text;
  }

  /** The text known since the last call, with an unfinished character as U+FFFD. */
  String finish() {
    flush();
    return take();
  }

  /** Whether the bytes of an unfinished character are held back. */
  boolean isPending() {
    return missing > 0;
  }
}

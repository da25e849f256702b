package ai.sluice.text.output;

/**
 * Text beside markers: the line ends next to a marker belong to it, as chat templates put them
 * there. Holds back the line ends that a marker may follow. Not thread-safe.
 */
final class Seam {
  /** More line ends than this in a row are text. */
  private static final int MOST = 8;

  private final StringBuilder out = new StringBuilder();
  private int held;
  private boolean fresh;

  /**
   * Starts.
   *
   * @param fresh whether a marker came just before
   */
  Seam(boolean fresh) {
    this.fresh = fresh;
  }

  /** The text that is certain after one more character; valid until the next call. */
  CharSequence accept(char c) {
    out.setLength(0);
    if (c != '\n') {
      fresh = false;
      release();
      out.append(c);
    } else if (!fresh) {
      if (held == MOST) {
        out.append(c);
      } else {
        held++;
      }
    }
    return out;
  }

  /** A marker begins: the line ends held back are its own. */
  String marker() {
    String own = "\n".repeat(held);
    held = 0;
    fresh = true;
    return own;
  }

  /** What came was no marker after all. */
  void noMarker() {
    fresh = false;
  }

  /** The text has ended without a marker. */
  CharSequence finish() {
    out.setLength(0);
    release();
    return out;
  }

  private void release() {
    for (; held > 0; held--) {
      out.append('\n');
    }
  }
}

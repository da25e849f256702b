package ai.sluice.cli;

import java.util.Locale;

/**
 * One line on standard error about work that takes a while. A terminal sees it redrawn in place;
 * a log sees its beginning and its end. Not thread-safe.
 */
final class ProgressLine implements AutoCloseable {
  private static final long REDRAW_NANOS = 100_000_000;

  private final Console console;
  private final String label;
  private long drawnAt = Long.MIN_VALUE;
  private String drawn = "";

  /**
   * Starts the line.
   *
   * @param label what is being done, for example {@code pulling NAME}
   */
  ProgressLine(Console console, String label) {
    this.console = console;
    this.label = label;
    if (console.errTerminal()) {
      draw(label);
    } else {
      console.err().println(label);
    }
  }

  /**
   * Shows how far the work has come, at most ten times a second and on terminals only.
   *
   * @param done bytes done
   * @param total bytes in all; 0 when unknown
   */
  void update(long done, long total) {
    long now = System.nanoTime();
    if (!console.errTerminal() || (!drawn.equals(label) && now - drawnAt < REDRAW_NANOS)) {
      return;
    }
    drawnAt = now;
    draw(label + ": " + amount(done, total));
  }

  /** Ends the line with what came of the work, and keeps it. */
  void finish(String outcome) {
    if (console.errTerminal()) {
      draw(label + ": " + outcome);
      console.err().println();
      drawn = "";
    } else {
      console.err().println(label + ": " + outcome);
    }
  }

  /** Wipes an unfinished line, so that an error message stands alone. */
  @Override
  public void close() {
    if (!drawn.isEmpty()) {
      draw("");
    }
  }

  private void draw(String text) {
    // Carriage return and "erase to the end of the line": no terminal library is loaded for this.
    console.err().print("\r\u001b[K" + text);
    console.err().flush();
    drawn = text;
  }

  /** An amount out of a total, for example {@code 45.1 of 92.9 MB, 48 %}. */
  static String amount(long done, long total) {
    if (total <= 0) {
      return Sizes.text(done);
    }
    // Done can overshoot what was announced; a share beyond the whole would only confuse.
    long percent = Math.min(100, Math.max(0, done) * 100 / total);
    return String.format(
        Locale.ROOT, "%s of %s, %d %%", Sizes.text(Math.min(done, total)), Sizes.text(total),
        percent);
  }
}

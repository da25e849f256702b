package ai.sluice.cli;

import ai.sluice.eval.run.EvalProgress;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jline.utils.Signals;
import org.jspecify.annotations.Nullable;

/**
 * Shows how far an evaluation is: on a terminal one line that is redrawn and never wider than it,
 * elsewhere a line every ten seconds. Not thread-safe.
 */
final class EvalProgressLine implements AutoCloseable {
  private static final long LOG_NANOS = 10_000_000_000L;
  private static final int MIN_BAR = 10;
  private static final int MAX_BAR = 30;

  /** Characters around a bar. */
  private static final int FRAME = 4;

  private final Console console;
  private final @Nullable Object resizeHandler;
  private volatile int width;
  private long loggedAt = System.nanoTime();
  private boolean drawn;

  EvalProgressLine(Console console) {
    this.console = console;
    boolean terminal = console.errTerminal();
    width = terminal ? TerminalWidth.columns() : 0;
    resizeHandler =
        terminal ? Signals.register("WINCH", () -> width = TerminalWidth.columns()) : null;
  }

  /** Shows how far it is, where it is time to. */
  void update(EvalProgress now) {
    if (console.errTerminal()) {
      // Carriage return and "erase to the end of the line".
      console.err().print("\r\u001b[K" + line(now, width - 1));
      console.err().flush();
      drawn = true;
    } else if (System.nanoTime() - loggedAt >= LOG_NANOS) {
      loggedAt = System.nanoTime();
      console.err().println(line(now, Integer.MAX_VALUE));
    }
  }

  /**
   * The line.
   *
   * @param room characters that it may take; a log has no end, and no bar either
   */
  static String line(EvalProgress now, int room) {
    int done = now.before() + now.done();
    String share =
        String.format(Locale.ROOT, "%3d %%", now.total() == 0 ? 100 : done * 100L / now.total());
    String items = done + "/" + now.total();
    String rate =
        now.done() == 0
            ? ""
            : String.format(Locale.ROOT, "%.1f/s", now.done() / Math.max(now.seconds(), 1e-3));
    String left =
        now.secondsLeft() < 0 ? "" : "ETA " + BatchProgress.duration(now.secondsLeft());
    String score =
        Double.isNaN(now.score())
            ? ""
            : String.format(
                Locale.ROOT, "%s %.4f", now.metric().replaceFirst(",none$", ""), now.score());
    String cached =
        String.format(Locale.ROOT, "%.0f %% cached", Math.floor(now.hitRate() * 100));
    // What matters least comes first.
    String[][] forms = {
      {share, items, rate, left, now.task(), score, cached},
      {share, items, rate, left, now.task(), score},
      {share, items, rate, left, score},
      {share, items, left, score},
      {share, left, score},
      {share, left},
      {share}
    };
    // A bar is worth more than what is cached, and less than all the rest.
    boolean log = room == Integer.MAX_VALUE;
    for (int i = 0; i < 2 && !log && now.total() > 0; i++) {
      String text = joined(forms[i]);
      int bar = Math.min(MAX_BAR, room - text.length() - FRAME);
      if (bar >= MIN_BAR) {
        int filled = (int) ((long) bar * done / now.total());
        return "[" + "#".repeat(filled) + " ".repeat(bar - filled) + "]  " + text;
      }
    }
    for (String[] form : forms) {
      String text = joined(form);
      if (text.length() <= room) {
        return text;
      }
    }
    return share.substring(0, Math.min(share.length(), Math.max(0, room)));
  }

  private static String joined(String[] parts) {
    List<String> given = new ArrayList<>();
    for (String part : parts) {
      if (!part.isEmpty()) {
        given.add(part);
      }
    }
    return String.join("  ", given);
  }

  /** Wipes the line. Idempotent. */
  @Override
  public void close() {
    if (drawn) {
      console.err().print("\r\u001b[K");
      console.err().flush();
      drawn = false;
    }
    if (resizeHandler != null) {
      Signals.unregister("WINCH", resizeHandler);
    }
  }
}

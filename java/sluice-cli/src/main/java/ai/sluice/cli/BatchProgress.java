package ai.sluice.cli;

import ai.sluice.openai.batch.BatchStatus;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.IntSupplier;
import org.jline.utils.Signals;
import org.jspecify.annotations.Nullable;

/**
 * Shows how far a batch is: on a terminal one line that is redrawn and never wider than it,
 * elsewhere a line every ten seconds. Not thread-safe.
 */
final class BatchProgress implements AutoCloseable {
  private static final long LOG_NANOS = 10_000_000_000L;
  private static final int MIN_BAR = 10;
  private static final int MAX_BAR = 40;

  /** Characters around a bar. */
  private static final int FRAME = 4;

  private final Console console;
  private final IntSupplier signals;
  private final @Nullable Object resizeHandler;
  private volatile int width;
  private long loggedAt = System.nanoTime();
  private boolean drawn;

  /**
   * Starts.
   *
   * @param signals how often the user asked to stop
   */
  BatchProgress(Console console, IntSupplier signals) {
    this.console = console;
    this.signals = signals;
    boolean terminal = console.errTerminal();
    width = terminal ? TerminalWidth.columns() : 0;
    resizeHandler =
        terminal ? Signals.register("WINCH", () -> width = TerminalWidth.columns()) : null;
  }

  /** Shows how far it is, where it is time to. */
  void update(BatchStatus status) {
    if (console.errTerminal()) {
      // Carriage return and "erase to the end of the line".
      console.err().print("\r\u001b[K" + line(status, width - 1, note(signals.getAsInt())));
      console.err().flush();
      drawn = true;
    } else if (System.nanoTime() - loggedAt >= LOG_NANOS) {
      loggedAt = System.nanoTime();
      console.err().println(line(status, Integer.MAX_VALUE, note(signals.getAsInt())));
    }
  }

  private static String note(int signals) {
    return switch (signals) {
      case 0 -> "";
      case 1 -> "finishing (Ctrl-C cancels)";
      default -> "cancelling";
    };
  }

  /**
   * The line.
   *
   * @param room characters that it may take; a log has no end, and no bar either
   */
  static String line(BatchStatus status, int room, String note) {
    double seconds = Math.max(status.seconds(), 1e-3);
    String share = share(status);
    String lines = status.before() + status.done() + " lines";
    String pace = String.format(Locale.ROOT, "%.1f lines/s", status.done() / seconds);
    String tokens = String.format(Locale.ROOT, "%.0f tok/s", status.newTokens() / seconds);
    String left = status.secondsLeft() < 0 ? "" : "ETA " + duration(status.secondsLeft());
    String failed = status.failed() == 0 ? "" : status.failed() + " failed";
    // What matters least comes first.
    String[][] forms = {
      {share, lines, pace, tokens, left, failed, note},
      {share, lines, tokens, left, failed, note},
      {share, lines, left, failed, note},
      {share, left, failed, note},
      {share, note.isEmpty() ? left : note},
      {share}
    };
    boolean log = room == Integer.MAX_VALUE;
    boolean bar = !log && status.share() >= 0;
    // A bar is worth more than the pace, and less than all the rest.
    if (bar && length(forms[1]) + MIN_BAR + FRAME <= room) {
      String text = join(length(forms[0]) + MIN_BAR + FRAME <= room ? forms[0] : forms[1]);
      int width = Math.min(MAX_BAR, room - text.length() - FRAME);
      int filled = (int) (status.share() * width);
      return "[" + "#".repeat(filled) + " ".repeat(width - filled) + "]  " + text;
    }
    for (String[] form : forms) {
      if (length(form) <= room) {
        return join(form);
      }
    }
    return share.substring(0, Math.min(share.length(), Math.max(0, room)));
  }

  private static int length(String[] parts) {
    return join(parts).length();
  }

  private static String share(BatchStatus status) {
    return status.share() < 0
        ? status.done() + " done"
        : String.format(Locale.ROOT, "%3d %%", (int) (status.share() * 100));
  }

  private static String join(String[] parts) {
    List<String> given = new ArrayList<>();
    for (String part : parts) {
      if (!part.isEmpty()) {
        given.add(part);
      }
    }
    return String.join("  ", given);
  }

  /** A time as m:ss or h:mm:ss. */
  static String duration(double seconds) {
    long whole = (long) Math.ceil(Math.min(seconds, 3.6e9));
    long hours = whole / 3600;
    return hours > 0
        ? String.format(Locale.ROOT, "%d:%02d:%02d", hours, whole / 60 % 60, whole % 60)
        : String.format(Locale.ROOT, "%d:%02d", whole / 60, whole % 60);
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

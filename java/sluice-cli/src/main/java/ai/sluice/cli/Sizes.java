package ai.sluice.cli;

import java.util.Locale;

/** Bytes and counts for people to read. */
final class Sizes {
  private static final String[] UNITS = {"kB", "MB", "GB", "TB", "PB", "EB"};

  private Sizes() {}

  /** Bytes in decimal units, for example {@code 98.4 MB}. */
  static String text(long bytes) {
    if (bytes < 1000) {
      return bytes + " B";
    }
    double value = bytes;
    int unit = -1;
    // 999.95 would print as 1000.0; the next unit is what a reader expects.
    while (value >= 999.95) {
      value /= 1000;
      unit++;
    }
    return String.format(Locale.ROOT, "%.1f %s", value, UNITS[unit]);
  }

  /** A count with separated thousands, for example {@code 134,515,008}. */
  static String count(long value) {
    return String.format(Locale.ROOT, "%,d", value);
  }
}

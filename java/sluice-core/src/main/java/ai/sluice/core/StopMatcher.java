package ai.sluice.core;

import java.util.List;

/**
 * Watches a growing text for stop strings and holds back what may be the start of one. Not
 * thread-safe.
 */
final class StopMatcher {
  private final List<String> stops;
  private final StringBuilder held = new StringBuilder();
  private boolean matched;

  StopMatcher(List<String> stops) {
    this.stops = stops;
  }

  /** Whether a stop string was met; nothing follows then. */
  boolean matched() {
    return matched;
  }

  /**
   * Takes more text.
   *
   * @return what is now certain not to belong to a stop string
   */
  String accept(String text) {
    if (matched) {
      return "";
    }
    if (stops.isEmpty() || text.isEmpty()) {
      return text;
    }
    held.append(text);
    int first = held.length();
    for (String stop : stops) {
      int at = held.indexOf(stop);
      if (at >= 0 && at < first) {
        first = at;
        matched = true;
      }
    }
    return take(matched ? first : held.length() - longestStart());
  }

  /** Ends the text and gives what was held back. */
  String finish() {
    return matched ? "" : take(held.length());
  }

  private String take(int length) {
    String certain = held.substring(0, length);
    held.delete(0, length);
    return certain;
  }

  /** Length of the longest end of the held text that starts a stop string. */
  private int longestStart() {
    int longest = 0;
    for (String stop : stops) {
      for (int length = Math.min(held.length(), stop.length() - 1); length > longest; length--) {
        if (endsWithStartOf(stop, length)) {
          longest = length;
        }
      }
    }
    return longest;
  }

  private boolean endsWithStartOf(String stop, int length) {
    int begin = held.length() - length;
    for (int i = 0; i < length; i++) {
      if (held.charAt(begin + i) != stop.charAt(i)) {
        return false;
      }
    }
    return true;
  }
}

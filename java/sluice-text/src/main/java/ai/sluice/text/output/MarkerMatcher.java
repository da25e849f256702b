package ai.sluice.text.output;

import java.util.List;

/**
 * Looks for markers in a text that comes by the character, and holds back what may be the start of
 * one. No marker is part of another. Not thread-safe.
 */
final class MarkerMatcher {
  private final List<String> markers;
  private final StringBuilder held = new StringBuilder();
  private final StringBuilder released = new StringBuilder();

  MarkerMatcher(String... markers) {
    this.markers = List.of(markers);
  }

  /**
   * Takes one more character.
   *
   * @return the marker that it completes, or -1; {@link #released} is what comes before it
   */
  int accept(char c) {
    released.setLength(0);
    held.append(c);
    while (held.length() > 0) {
      for (int i = 0; i < markers.size(); i++) {
        String marker = markers.get(i);
        if (startsLikeHeld(marker)) {
          if (marker.length() == held.length()) {
            held.setLength(0);
            return i;
          }
          return -1;
        }
      }
      released.append(held.charAt(0));
      held.deleteCharAt(0);
    }
    return -1;
  }

  private boolean startsLikeHeld(String marker) {
    if (marker.length() < held.length()) {
      return false;
    }
    for (int i = 0; i < held.length(); i++) {
      if (marker.charAt(i) != held.charAt(i)) {
        return false;
      }
    }
    return true;
  }

  /** What turned out to be no marker at the last call; valid until the next. */
  CharSequence released() {
    return released;
  }

  boolean isHolding() {
    return held.length() > 0;
  }

  /** Gives what is held back up, since nothing follows. */
  String takeHeld() {
    String rest = held.toString();
    held.setLength(0);
    return rest;
  }
}

package ai.sluice.text;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Finds where any of a few texts occurs in another, in one pass by first character. */
final class TextMatcher {
  private final Map<Character, List<String>> byFirst = new HashMap<>();

  TextMatcher(List<String> texts) {
    for (String text : texts) {
      if (!text.isEmpty()) {
        byFirst.computeIfAbsent(text.charAt(0), c -> new ArrayList<>()).add(text);
      }
    }
  }

  boolean foundIn(String text) {
    for (int i = 0; i < text.length(); i++) {
      if (startsAt(text, i)) {
        return true;
      }
    }
    return false;
  }

  /** Breaks each of the texts that occurs in another by a character after its first one. */
  String breakWith(String text, char mark) {
    StringBuilder broken = new StringBuilder(text.length() + 16);
    for (int i = 0; i < text.length(); i++) {
      broken.append(text.charAt(i));
      if (startsAt(text, i)) {
        broken.append(mark);
      }
    }
    return broken.toString();
  }

  private boolean startsAt(String text, int at) {
    List<String> candidates = byFirst.get(text.charAt(at));
    if (candidates != null) {
      for (String candidate : candidates) {
        if (text.startsWith(candidate, at)) {
          return true;
        }
      }
    }
    return false;
  }
}

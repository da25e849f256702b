package ai.sluice.text;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Finds whether any of a few texts occurs in another, in one pass by first character. */
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
      List<String> candidates = byFirst.get(text.charAt(i));
      if (candidates != null) {
        for (String candidate : candidates) {
          if (text.startsWith(candidate, i)) {
            return true;
          }
        }
      }
    }
    return false;
  }
}

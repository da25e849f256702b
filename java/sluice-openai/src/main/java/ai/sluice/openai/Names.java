package ai.sluice.openai;

import java.util.Collection;
import java.util.Comparator;
import java.util.Optional;

/** Says what a misspelt name may have been meant to be. */
final class Names {
  private static final int MAX_LENGTH = 64;

  private Names() {}

  /** What is expected where an unknown name stands: the nearest one, or all. */
  static String expectation(String name, Collection<String> known) {
    Optional<String> near =
        name.length() > MAX_LENGTH
            ? Optional.empty()
            : known.stream()
                .min(Comparator.comparingInt(candidate -> distance(name, candidate)))
                .filter(candidate -> distance(name, candidate) <= Math.max(1, name.length() / 3));
    return near.map(candidate -> "a known field; did you mean " + candidate + "?")
        .orElseGet(() -> "one of " + String.join(", ", known));
  }

  /** Characters to insert, remove or replace to make one word of the other. */
  private static int distance(String a, String b) {
    int[] row = new int[b.length() + 1];
    for (int j = 0; j <= b.length(); j++) {
      row[j] = j;
    }
    for (int i = 1; i <= a.length(); i++) {
      int diagonal = row[0];
      row[0] = i;
      for (int j = 1; j <= b.length(); j++) {
        int replaced = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
        diagonal = row[j];
        row[j] = Math.min(replaced, 1 + Math.min(row[j], row[j - 1]));
      }
    }
    return row[b.length()];
  }
}

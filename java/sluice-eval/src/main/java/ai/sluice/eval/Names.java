package ai.sluice.eval;

import java.util.Collection;
import java.util.Comparator;
import java.util.stream.Collectors;

/** Names that a user may have meant. */
public final class Names {
  private Names() {}

  /**
   * The names nearest to one that does not exist, the nearest first, with commas between.
   *
   * @param most how many; what is left out shows as dots
   */
  public static String nearest(String name, Collection<String> known, int most) {
    String found =
        known.stream()
            .sorted(Comparator.comparingInt(other -> distance(name, other)))
            .limit(most)
            .collect(Collectors.joining(", "));
    return known.size() > most ? found + ", ..." : found;
  }

  // Levenshtein's.
  private static int distance(String a, String b) {
    int[] row = new int[b.length() + 1];
    for (int j = 0; j < row.length; j++) {
      row[j] = j;
    }
    for (int i = 1; i <= a.length(); i++) {
      int diagonal = row[0];
      row[0] = i;
      for (int j = 1; j <= b.length(); j++) {
        int same = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
        diagonal = row[j];
        row[j] = Math.min(same, Math.min(row[j], row[j - 1]) + 1);
      }
    }
    return row[b.length()];
  }
}

package ai.sluice.eval.run;

import java.util.Comparator;

/**
 * Names an item within a run; ordered by task, then by number.
 *
 * @param task the item's own, of a group the subject's
 * @param index in its file, from 0
 */
public record ItemKey(String task, int index) implements Comparable<ItemKey> {
  private static final Comparator<ItemKey> ORDER =
      Comparator.comparing(ItemKey::task).thenComparingInt(ItemKey::index);

  @Override
  public int compareTo(ItemKey other) {
    return ORDER.compare(this, other);
  }
}

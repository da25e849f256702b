package ai.sluice.core;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;

/**
 * Items that wait for others to fill their batch. Pure bookkeeping; not thread-safe.
 *
 * @param <T> items
 */
final class BatchWindow<T> {
  /** Nothing waits. */
  static final long NEVER = Long.MAX_VALUE;

  private final int maxSize;
  private final long maxWaitNanos;
  private final ArrayDeque<T> items = new ArrayDeque<>();
  private final ArrayDeque<Long> due = new ArrayDeque<>();

  /**
   * Creates an empty window.
   *
   * @param maxSize items of a batch, 1 or more
   * @param maxWaitNanos longest wait of an item, 0 or more
   */
  BatchWindow(int maxSize, long maxWaitNanos) {
    this.maxSize = maxSize;
    this.maxWaitNanos = maxWaitNanos;
  }

  int size() {
    return items.size();
  }

  /** Adds an item that begins to wait now. */
  void add(T item, long now) {
    items.add(item);
    due.add(now + maxWaitNanos);
  }

  /** When a batch is due without further items, {@link #NEVER} if none is. */
  long nextDue(long now) {
    if (items.isEmpty()) {
      return NEVER;
    }
    return items.size() >= maxSize ? now : due.getFirst();
  }

  /**
   * Takes the batch that is due: a full one, or what there is once the first has waited enough.
   *
   * @param flush whether what there is is due at once
   * @return in the order of arrival; empty if none is due
   */
  List<T> take(long now, boolean flush) {
    List<T> batch = new ArrayList<>();
    if (!items.isEmpty() && (flush || nextDue(now) <= now)) {
      while (batch.size() < maxSize && !items.isEmpty()) {
        batch.add(items.remove());
        due.remove();
      }
    }
    return batch;
  }
}

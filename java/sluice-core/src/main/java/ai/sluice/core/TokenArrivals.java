package ai.sluice.core;

import ai.sluice.api.Chunk;
import java.util.ArrayList;
import java.util.List;

/** When a request's tokens came, by {@link System#nanoTime}. Thread-safe. */
final class TokenArrivals {
  private final List<Long> nanos = new ArrayList<>();

  /** A chunk that comes now. */
  void add(Chunk chunk) {
    add(chunk.tokens().size(), System.nanoTime());
  }

  synchronized void add(int tokens, long now) {
    for (int i = 0; i < tokens; i++) {
      nanos.add(now);
    }
  }

  synchronized int count() {
    return nanos.size();
  }

  synchronized long first() {
    return nanos.get(0);
  }

  synchronized long last() {
    return nanos.get(nanos.size() - 1);
  }

  /** Tokens after {@code begin}, up to {@code end}. */
  synchronized long between(long begin, long end) {
    return nanos.stream().filter(at -> at - begin > 0 && at - end <= 0).count();
  }
}

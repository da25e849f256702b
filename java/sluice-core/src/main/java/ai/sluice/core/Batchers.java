package ai.sluice.core;

import ai.sluice.api.BatcherOptions;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executor;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.Condition;
import org.jspecify.annotations.Nullable;

/** The open batchers of an engine, which end with it. Thread-safe. */
final class Batchers {
  private static final BatchClock SYSTEM =
      new BatchClock() {
        @Override
        public long now() {
          return System.nanoTime();
        }

        @Override
        public void await(Condition condition, long nanos) throws InterruptedException {
          if (nanos == BatchWindow.NEVER) {
            condition.await();
          } else {
            condition.awaitNanos(nanos);
          }
        }
      };

  private final int engineNumber;
  private final AtomicInteger count = new AtomicInteger();
  private final Set<Batcher> open = ConcurrentHashMap.newKeySet();
  private volatile boolean closed;

  Batchers(int engineNumber) {
    this.engineNumber = engineNumber;
  }

  Batcher open(BatcherOptions options, BatchTarget target, Executor results) {
    AtomicReference<@Nullable Batcher> self = new AtomicReference<>();
    Batcher batcher =
        new Batcher(
            "sluice-batcher-" + engineNumber + "-" + count.incrementAndGet(),
            options,
            target,
            results,
            SYSTEM,
            () -> {
              Batcher closing = self.get();
              if (closing != null) {
                open.remove(closing);
              }
            });
    self.set(batcher);
    open.add(batcher);
    if (closed) {
      // The engine was closed meanwhile, and may not have seen it.
      engineClosed();
    }
    return batcher;
  }

  /** Ends what none of them has handed on. */
  void engineClosed() {
    closed = true;
    for (Batcher batcher : open) {
      batcher.engineClosed();
    }
  }
}

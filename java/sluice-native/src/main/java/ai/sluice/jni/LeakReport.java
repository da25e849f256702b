package ai.sluice.jni;

import java.lang.ref.Cleaner;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Reports objects that were collected without being closed, with the place that created them. Does
 * nothing unless {@code -Dsluice.leaks=true}; never frees anything, because a native call may still
 * be running when an object becomes unreachable.
 */
public final class LeakReport {
  private static final boolean ENABLED = Boolean.getBoolean("sluice.leaks");
  private static final Logger LOGGER = LoggerFactory.getLogger("ai.sluice.leaks");

  private final AtomicBoolean closed;

  private LeakReport(AtomicBoolean closed) {
    this.closed = closed;
  }

  private static final class Holder {
    static final Cleaner CLEANER = Cleaner.create();
  }

  /** Watches {@code object} until {@link #closed()} is called; null when reports are off. */
  public static @Nullable LeakReport watch(Object object, String name) {
    if (!ENABLED) {
      return null;
    }
    AtomicBoolean closed = new AtomicBoolean();
    Exception created = new Exception("created here");
    Holder.CLEANER.register(
        object,
        () -> {
          if (!closed.get()) {
            LOGGER.error("{}: never closed (remedy: use try-with-resources)", name, created);
          }
        });
    return new LeakReport(closed);
  }

  /** The object was closed: nothing will be reported. */
  public void closed() {
    closed.set(true);
  }
}

package ai.sluice.jni;

import ai.sluice.api.EngineClosedException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Counts the calls in flight on a native object, and frees it when it is closed and the last of them
 * has returned.
 *
 * <p>Thread-safe without a lock around native code: a virtual thread that waits here frees its
 * carrier.
 */
final class NativeHandle implements AutoCloseable {
  /** The bit that says closed; the bits below count calls. */
  private static final int CLOSED = 1 << 30;

  private static final AtomicInteger OPEN = new AtomicInteger();

  private final String name;
  private final Runnable abort;
  private final Runnable destroy;
  private final AtomicInteger state = new AtomicInteger();
  private final CountDownLatch idle = new CountDownLatch(1);
  private final CountDownLatch destroyed = new CountDownLatch(1);

  /**
   * Creates a handle.
   *
   * @param name what it is, for messages
   * @param abort makes calls in flight return soon; runs once, before {@code destroy}
   * @param destroy frees the object; runs once, when no call is in flight
   */
  NativeHandle(String name, Runnable abort, Runnable destroy) {
    this.name = name;
    this.abort = abort;
    this.destroy = destroy;
    OPEN.incrementAndGet();
  }

  /** Handles of this process that were created and not freed yet. */
  static int numOpen() {
    return OPEN.get();
  }

  /**
   * Begins a call; every return needs one {@link #exit()}.
   *
   * @throws EngineClosedException when the handle is closed
   */
  void enter() {
    int seen = state.get();
    while (true) {
      if ((seen & CLOSED) != 0) {
        throw new EngineClosedException(
            name + ": closed (expected: open; remedy: make the call before close())");
      }
      int witness = state.compareAndExchange(seen, seen + 1);
      if (witness == seen) {
        return;
      }
      seen = witness;
    }
  }

  /** Ends a call. */
  void exit() {
    if (state.decrementAndGet() == CLOSED) {
      idle.countDown();
    }
  }

  /** Whether {@link #close()} has begun. */
  boolean isClosed() {
    return (state.get() & CLOSED) != 0;
  }

  /**
   * Refuses further calls, ends those in flight, and frees the object. Every caller returns after it
   * is freed; an interrupt is kept for later.
   */
  @Override
  public void close() {
    int before = state.getAndUpdate(seen -> seen | CLOSED);
    if ((before & CLOSED) != 0) {
      awaitUninterruptibly(destroyed);
      return;
    }
    try {
      abort.run();
      if (before != 0) {
        awaitUninterruptibly(idle);
      }
      destroy.run();
      OPEN.decrementAndGet();
    } finally {
      destroyed.countDown();
    }
  }

  private static void awaitUninterruptibly(CountDownLatch latch) {
    boolean interrupted = false;
    while (true) {
      try {
        latch.await();
        break;
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}

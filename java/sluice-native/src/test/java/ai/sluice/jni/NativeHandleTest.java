package ai.sluice.jni;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.EngineClosedException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class NativeHandleTest {
  private final AtomicInteger aborts = new AtomicInteger();
  private final AtomicInteger destroys = new AtomicInteger();
  private final NativeHandle handle =
      new NativeHandle("thing", aborts::incrementAndGet, destroys::incrementAndGet);

  @Test
  void closesOnce() {
    int open = NativeHandle.numOpen();
    handle.enter();
    handle.exit();
    assertFalse(handle.isClosed());
    handle.close();
    handle.close();
    assertTrue(handle.isClosed());
    assertEquals(1, aborts.get());
    assertEquals(1, destroys.get());
    EngineClosedException e = assertThrows(EngineClosedException.class, handle::enter);
    assertEquals(
        "thing: closed (expected: open; remedy: make the call before close())", e.getMessage());
    handle.close();
    assertEquals(1, destroys.get());
    assertEquals(open - 1, NativeHandle.numOpen());
  }

  @Test
  void closeAbortsThenWaitsForCallsInFlight() throws Exception {
    CountDownLatch aborted = new CountDownLatch(1);
    AtomicBoolean inCall = new AtomicBoolean(true);
    AtomicBoolean destroyedDuringCall = new AtomicBoolean();
    NativeHandle waiting =
        new NativeHandle(
            "thing", aborted::countDown, () -> destroyedDuringCall.set(inCall.get()));
    waiting.enter();
    ExecutorService executor = Executors.newFixedThreadPool(2);
    try {
      Future<?> first = executor.submit(waiting::close);
      aborted.await();
      Future<?> second = executor.submit(waiting::close);
      assertThrows(EngineClosedException.class, waiting::enter);
      assertFalse(first.isDone());
      assertFalse(second.isDone());
      inCall.set(false);
      waiting.exit();
      first.get();
      second.get();
      assertFalse(destroyedDuringCall.get());
    } finally {
      executor.shutdownNow();
    }
  }

  @Test
  void anInterruptDoesNotFreeTooEarlyAndIsKept() throws Exception {
    CountDownLatch aborted = new CountDownLatch(1);
    NativeHandle waiting =
        new NativeHandle("thing", aborted::countDown, destroys::incrementAndGet);
    waiting.enter();
    AtomicBoolean interrupted = new AtomicBoolean();
    Thread closer =
        new Thread(
            () -> {
              waiting.close();
              interrupted.set(Thread.interrupted());
            });
    closer.start();
    aborted.await();
    closer.interrupt();
    assertEquals(0, destroys.get());
    waiting.exit();
    closer.join();
    assertEquals(1, destroys.get());
    assertTrue(interrupted.get());
  }

  @Test
  void callsAndClosesRaceWithoutUseAfterFree() throws Exception {
    int threads = 8;
    ExecutorService executor = Executors.newFixedThreadPool(threads);
    try {
      for (int round = 0; round < 200; round++) {
        AtomicBoolean freed = new AtomicBoolean();
        AtomicInteger late = new AtomicInteger();
        AtomicInteger frees = new AtomicInteger();
        NativeHandle raced =
            new NativeHandle(
                "thing",
                () -> {},
                () -> {
                  freed.set(true);
                  frees.incrementAndGet();
                });
        CyclicBarrier start = new CyclicBarrier(threads);
        List<Future<?>> all = new ArrayList<>();
        for (int i = 0; i < threads; i++) {
          boolean closer = i < 2;
          all.add(
              executor.submit(
                  () -> {
                    start.await();
                    for (int call = 0; call < 100 && !closer; call++) {
                      try {
                        raced.enter();
                      } catch (EngineClosedException e) {
                        break;
                      }
                      if (freed.get()) {
                        late.incrementAndGet();
                      }
                      raced.exit();
                    }
                    if (closer) {
                      raced.close();
                      assertTrue(freed.get());
                    }
                    return null;
                  }));
        }
        for (Future<?> one : all) {
          one.get(30, TimeUnit.SECONDS);
        }
        assertEquals(0, late.get());
        assertEquals(1, frees.get());
      }
    } finally {
      executor.shutdownNow();
    }
  }

  @Test
  void aFailingAbortStillReleasesOtherClosers() {
    NativeHandle broken =
        new NativeHandle(
            "thing",
            () -> {
              throw new IllegalStateException("abort");
            },
            destroys::incrementAndGet);
    assertThrows(IllegalStateException.class, broken::close);
    broken.close();
  }
}

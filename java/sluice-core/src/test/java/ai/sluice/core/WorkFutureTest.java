package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.EngineClosedException;
import ai.sluice.api.EngineFailedException;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Whoever completes a result from outside ends the work; the engine itself does not. */
@Timeout(60)
class WorkFutureTest {
  private final CountDownLatch ended = new CountDownLatch(1);
  private final WorkFuture<String> future = new WorkFuture<>(Runnable::run);

  WorkFutureTest() {
    future.canceller(ended::countDown);
  }

  @Test
  void cancellingEndsTheWork() {
    future.cancel(true);
    assertEquals(0, ended.getCount());
  }

  @Test
  void aTimeoutEndsTheWork() throws Exception {
    future.orTimeout(1, TimeUnit.NANOSECONDS);
    ended.await();
    assertTrue(future.isCompletedExceptionally());
  }

  @Test
  void aValueAtATimeoutEndsTheWork() throws Exception {
    future.completeOnTimeout("none", 1, TimeUnit.NANOSECONDS);
    ended.await();
    assertEquals("none", future.join());
  }

  @Test
  void anyOtherCompletionEndsTheWork() {
    future.completeExceptionally(new ArithmeticException());
    assertEquals(0, ended.getCount());
    // What the engine tells afterwards changes nothing.
    future.deliver(() -> "late");
    assertTrue(future.isCompletedExceptionally());
  }

  @Test
  void deliveringDoesNotEndTheWork() {
    future.deliver(() -> "done");
    assertEquals("done", future.join());
    assertEquals(1, ended.getCount());
  }

  @Test
  void failingDoesNotEndTheWork() {
    future.fail(new EngineClosedException("closed"));
    assertTrue(
        assertThrows(CompletionException.class, future::join).getCause()
            instanceof EngineClosedException);
    assertEquals(1, ended.getCount());
  }

  @Test
  void dependentsDoNotEndTheWork() {
    future.thenApply(String::length).cancel(true);
    assertEquals(1, ended.getCount());
  }

  @Test
  void aResultThatCannotBeMadeIsAFailure() {
    future.deliver(
        () -> {
          throw new ArithmeticException("defect");
        });
    assertTrue(
        assertThrows(CompletionException.class, future::join).getCause()
            instanceof EngineFailedException);
  }

  @Test
  void withoutAThreadItIsCompletedAllTheSame() {
    WorkFuture<String> late =
        new WorkFuture<>(
            task -> {
              throw new RejectedExecutionException();
            });
    late.deliver(() -> "done");
    assertEquals("done", late.join());
  }
}

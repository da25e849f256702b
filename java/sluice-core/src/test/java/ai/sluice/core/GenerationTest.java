package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.Chunk;
import ai.sluice.api.EngineFailedException;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.Timings;
import ai.sluice.api.Usage;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(600)
class GenerationTest {
  private final ExecutorService callbacks = Executors.newCachedThreadPool();
  private final AtomicInteger cancels = new AtomicInteger();
  private final Generation generation =
      new Generation(
          callbacks,
          callbacks,
          () -> {
            if (cancels.incrementAndGet() == 1) {
              end(FinishReason.CANCELLED);
            }
          });

  @AfterEach
  void shutDown() {
    callbacks.shutdownNow();
  }

  private void say(int token, String text) {
    generation.add(token, null);
    if (!text.isEmpty()) {
      generation.publish(text);
    }
  }

  private void end(FinishReason reason) {
    generation.publish("");
    generation.finish(
        (text, tokens, logprobs) ->
            new GenerationResult(text, tokens, logprobs, reason, "", 1,
                new Usage(1, 0, tokens.size()), new Timings(0, 0, 0, 0)));
  }

  @Test
  void aSlowReaderGetsFewerLongerChunksAndNothingIsLost() {
    say(1, "a");
    Iterator<Chunk> reader = generation.iterator();
    assertEquals("a", reader.next().text());
    say(2, "");
    say(3, "b");
    say(4, "c");
    Chunk rest = reader.next();
    assertEquals("bc", rest.text());
    assertEquals(List.of(2, 3, 4), rest.tokens());
    say(5, "");
    end(FinishReason.LENGTH);
    Chunk last = reader.next();
    assertEquals("", last.text());
    assertEquals(List.of(5), last.tokens());
    assertFalse(reader.hasNext());
    assertEquals("abc", generation.result().join().text());
  }

  @Test
  void theWriterNeverWaitsForAReader() {
    for (int i = 0; i < 100_000; i++) {
      say(i, "x");
    }
    end(FinishReason.LENGTH);
    assertEquals(100_000, generation.result().join().tokens().size());
  }

  @Test
  void cancellingTheFutureCancelsTheGeneration() {
    assertTrue(generation.result().cancel(true));
    assertEquals(1, cancels.get());
    assertFalse(generation.iterator().hasNext());
  }

  @Test
  void cancellingADependentFutureDoesNot() {
    CompletableFuture<String> dependent = generation.result().thenApply(GenerationResult::text);
    dependent.cancel(true);
    assertEquals(0, cancels.get());
  }

  @Test
  void closingEarlyCancels() {
    try (Generation open = generation) {
      say(1, "a");
      for (Chunk chunk : open) {
        assertEquals("a", chunk.text());
        break;
      }
    }
    assertEquals(FinishReason.CANCELLED, generation.result().join().finishReason());
  }

  @Test
  void theConsumerHasSeenEverythingWhenTheResultCompletes() {
    List<String> seen = new ArrayList<>();
    generation.onChunk(
        chunk -> {
          try {
            Thread.sleep(5);
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
          }
          seen.add(chunk.text());
        });
    for (int i = 0; i < 20; i++) {
      say(i, "x");
    }
    end(FinishReason.LENGTH);
    generation.result().join();
    assertEquals("x".repeat(20), String.join("", seen));
  }

  @Test
  void aConsumerThatThrowsCancels() {
    generation.onChunk(
        chunk -> {
          throw new IllegalArgumentException("broken consumer");
        });
    say(1, "a");
    assertEquals(FinishReason.CANCELLED, generation.result().join().finishReason());
  }

  /** Consumers use engines too, and what those throw is no failure of this one. */
  @Test
  void aConsumerThatThrowsAnEnginesExceptionCancels() {
    generation.onChunk(
        chunk -> {
          throw new EngineFailedException("another engine failed");
        });
    say(1, "a");
    assertEquals(FinishReason.CANCELLED, generation.result().join().finishReason());
    assertEquals(1, cancels.get());
  }

  @Test
  void afterAFailureAConsumerIsOverAndTheResultSaysWhy() {
    List<String> seen = new ArrayList<>();
    say(1, "a");
    generation.onChunk(chunk -> seen.add(chunk.text()));
    generation.fail(new EngineFailedException("fault"));
    CompletionException e =
        assertThrows(CompletionException.class, () -> generation.result().join());
    assertEquals("fault", e.getCause().getMessage());
    assertEquals(List.of("a"), seen);
    assertEquals(0, cancels.get());
  }

  @Test
  void actionsOfUsersRunOnTheirOwnThread() throws Exception {
    CountDownLatch never = new CountDownLatch(1);
    CompletableFuture<Thread> where = new CompletableFuture<>();
    generation.result().thenAccept(
        result -> {
          where.complete(Thread.currentThread());
          try {
            never.await();
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
          }
        });
    end(FinishReason.STOP);
    assertFalse(where.get(10, TimeUnit.SECONDS) == Thread.currentThread());
    never.countDown();
  }

  @Test
  void aFailureComesAfterTheChunks() {
    EngineFailedException cause = new EngineFailedException("fault");
    say(1, "a");
    generation.fail(cause);
    Iterator<Chunk> reader = generation.iterator();
    assertEquals("a", reader.next().text());
    assertSame(cause, assertThrows(EngineFailedException.class, reader::hasNext));
    CompletionException e =
        assertThrows(CompletionException.class, () -> generation.result().join());
    assertSame(cause, e.getCause());
  }

  @Test
  void anInterruptCancelsAndStays() {
    Thread.currentThread().interrupt();
    assertFalse(generation.iterator().hasNext());
    assertTrue(Thread.interrupted());
    assertEquals(FinishReason.CANCELLED, generation.result().join().finishReason());
  }

  @Test
  void oneReaderOnly() {
    generation.iterator();
    assertThrows(IllegalStateException.class, generation::iterator);
    assertThrows(IllegalStateException.class, () -> generation.onChunk(chunk -> {}));
  }

  @Test
  void withoutAThreadResultsStillComplete() {
    Generation other =
        new Generation(
            callbacks,
            task -> {
              throw new OutOfMemoryError("unable to create native thread");
            },
            () -> {});
    other.fail(new EngineFailedException("fault"));
    CompletionException e =
        assertThrows(CompletionException.class, () -> other.result().join());
    assertEquals("fault", e.getCause().getMessage());
  }

  @Test
  void withoutAThreadForTheConsumerTheCallerIsToldAndTheGenerationCancelled() {
    AtomicInteger cancelled = new AtomicInteger();
    Generation other =
        new Generation(
            task -> {
              throw new OutOfMemoryError("unable to create native thread");
            },
            callbacks,
            cancelled::incrementAndGet);
    assertThrows(OutOfMemoryError.class, () -> other.onChunk(chunk -> {}));
    assertEquals(1, cancelled.get());
    other.fail(new EngineFailedException("fault"));
    assertThrows(CompletionException.class, () -> other.result().join());
  }

  @Test
  void afterShutdownResultsStillComplete() {
    callbacks.shutdown();
    end(FinishReason.CANCELLED);
    assertEquals(FinishReason.CANCELLED, generation.result().join().finishReason());
  }
}

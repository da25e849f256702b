package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.Chunk;
import ai.sluice.api.ChunkKind;
import ai.sluice.api.EngineFailedException;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.Timings;
import ai.sluice.api.ToolCall;
import ai.sluice.api.ToolCallDelta;
import ai.sluice.api.Usage;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
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
  private final List<String> details = new ArrayList<>();
  private final Generation generation = generation(1);

  private Generation generation(int alternatives) {
    return new Generation(
        callbacks,
        callbacks,
        alternatives,
        100,
        detail -> {
          details.add(detail);
          if (cancels.incrementAndGet() == 1) {
            end(FinishReason.CANCELLED);
          }
        });
  }

  @AfterEach
  void shutDown() {
    callbacks.shutdownNow();
  }

  private void say(int token, String text) {
    say(generation, 0, token, ChunkKind.ANSWER, text);
  }

  private static void say(
      Generation generation, int index, int token, ChunkKind kind, String text) {
    generation.add(index, token, null);
    if (!text.isEmpty()) {
      generation.publish(index, kind, text);
    }
  }

  private void end(FinishReason reason) {
    end(generation, 0, reason);
  }

  private static void end(Generation generation, int index, FinishReason reason) {
    generation.publish(index, ChunkKind.ANSWER, "");
    generation.finish(
        index,
        said ->
            new GenerationResult(
                said.answer.toString(), said.reasoning.toString(), said.toolCalls, said.tokens,
                said.logprobs, reason, "", index, new Usage(1, 0, said.tokens.size()),
                new Timings(0, 0, 0, 0), List.of()));
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
  void anInterruptedReaderHoldsNobodyUpWhileItCancels() {
    // As an engine that is being closed does: another thread writes while the canceller waits.
    Generation[] made = new Generation[1];
    made[0] =
        new Generation(
            callbacks,
            callbacks,
            1,
            100,
            detail ->
                CompletableFuture.runAsync(() -> end(made[0], 0, FinishReason.CANCELLED), callbacks)
                    .orTimeout(20, TimeUnit.SECONDS)
                    .join());
    Iterator<Chunk> reader = made[0].iterator();
    Thread.currentThread().interrupt();
    assertFalse(reader.hasNext());
    assertTrue(Thread.interrupted());
    assertEquals(FinishReason.CANCELLED, made[0].result().join().finishReason());
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
            1,
            100,
            detail -> {});
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
            1,
            100,
            detail -> cancelled.incrementAndGet());
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

  @Test
  void theResultOfSeveralComesWithTheLastAndHasTheOthersInside() {
    Generation several = generation(3);
    say(several, 1, 11, ChunkKind.ANSWER, "b");
    say(several, 0, 10, ChunkKind.ANSWER, "a");
    say(several, 1, 12, ChunkKind.ANSWER, "B");
    end(several, 1, FinishReason.LENGTH);
    end(several, 0, FinishReason.STOP);
    assertFalse(several.result().isDone());
    say(several, 2, 13, ChunkKind.ANSWER, "c");
    end(several, 2, FinishReason.STOP);
    GenerationResult result = several.result().join();
    assertEquals("a", result.text());
    assertEquals(List.of("bB", "c"), texts(result.alternatives()));
    assertEquals(List.of("a", "bB", "c"), texts(result.all()));
    assertEquals(List.of(11, 12), result.alternatives().get(0).tokens());
    assertEquals(2, result.alternatives().get(0).usage().newTokens());
    assertTrue(result.alternatives().get(0).alternatives().isEmpty());
    // Pieces of one alternative are in order, and grow while nobody reads them.
    List<String> read = new ArrayList<>();
    several.forEach(chunk -> read.add(chunk.index() + chunk.text() + chunk.tokens()));
    assertEquals(List.of("1bB[11, 12]", "0a[10]", "2c[13]"), read);
  }

  private static List<String> texts(List<GenerationResult> results) {
    return results.stream().map(GenerationResult::text).toList();
  }

  @Test
  void aFailureOfOneEndsAllAndCancelsTheOthers() {
    Generation several = generation(2);
    say(several, 0, 1, ChunkKind.ANSWER, "a");
    several.fail(new EngineFailedException("fault"));
    assertEquals(1, cancels.get());
    say(several, 1, 2, ChunkKind.ANSWER, "late");
    end(several, 1, FinishReason.CANCELLED);
    CompletionException e =
        assertThrows(CompletionException.class, () -> several.result().join());
    assertEquals("fault", e.getCause().getMessage());
    Iterator<Chunk> reader = several.iterator();
    assertEquals("a", reader.next().text());
    assertThrows(EngineFailedException.class, reader::hasNext);
  }

  @Test
  void kindsAreReadInOrderAndJoinToTheResult() {
    say(generation, 0, 1, ChunkKind.REASONING, "hm");
    generation.add(0, 2, null);
    generation.publish(0, ChunkKind.REASONING, "m");
    generation.publish(0, ChunkKind.ANSWER, "so ");
    generation.add(0, 3, null);
    generation.beginCall(0, 0, "id", "f");
    generation.continueCall(0, 0, "{\"a\":");
    Iterator<Chunk> reader = generation.iterator();
    Chunk first = reader.next();
    assertEquals(ChunkKind.REASONING, first.kind());
    assertEquals("hmm", first.text());
    assertEquals(List.of(1, 2), first.tokens());
    Chunk second = reader.next();
    assertEquals(new Chunk(ChunkKind.ANSWER, 0, "so ", List.of(), List.of()), second);
    Chunk third = reader.next();
    assertEquals(
        new ToolCallDelta(0, Optional.of("id"), Optional.of("f"), "{\"a\":"),
        third.toolCall().orElseThrow());
    assertEquals(List.of(3), third.tokens());
    say(generation, 0, 4, ChunkKind.ANSWER, "");
    generation.continueCall(0, 0, "1}");
    generation.completeCall(0, ToolCall.of("id", "f", Map.of("a", 1)));
    generation.beginCall(0, 1, "id2", "g");
    Chunk fourth = reader.next();
    assertEquals(
        new ToolCallDelta(0, Optional.empty(), Optional.empty(), "1}"),
        fourth.toolCall().orElseThrow());
    assertEquals(List.of(4), fourth.tokens());
    assertEquals(Optional.of("g"), reader.next().toolCall().orElseThrow().name());
    end(FinishReason.STOP);
    assertFalse(reader.hasNext());
    GenerationResult result = generation.result().join();
    assertEquals("so ", result.text());
    assertEquals("hmm", result.reasoning());
    assertEquals(1, result.toolCalls().size());
  }

  @Test
  void aReaderThatLagsTooMuchHasItsGenerationCancelled() {
    Iterator<Chunk> reader = generation.iterator();
    say(1, "x".repeat(60));
    assertEquals(60, reader.next().text().length());
    say(2, "\u4e16".repeat(33)); // three bytes each
    assertEquals(0, cancels.get());
    say(3, "yy");
    assertEquals(1, cancels.get());
    assertTrue(details.get(0).contains("maxUnreadBytes"), details.get(0));
    assertEquals(35, reader.next().text().length());
    assertFalse(reader.hasNext());
    assertEquals(FinishReason.CANCELLED, generation.result().join().finishReason());
  }

  @Test
  void tokensWithoutTextCountToo() {
    generation.onChunk(chunk -> await(never));
    for (int i = 0; i < 27 && cancels.get() == 0; i++) {
      generation.add(0, i, null);
      generation.publish(0, ChunkKind.ANSWER, "");
    }
    assertEquals(1, cancels.get());
    never.countDown();
    assertTrue(generation.result().join().tokens().size() > 25);
  }

  private final CountDownLatch never = new CountDownLatch(1);

  private static void await(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Test
  void whatCameBeforeTheReaderIsNotHeldAgainstIt() {
    say(1, "x".repeat(1000));
    Iterator<Chunk> reader = generation.iterator();
    say(2, "y".repeat(100));
    assertEquals(0, cancels.get());
    say(3, "y");
    assertEquals(1, cancels.get());
    assertEquals(1101, reader.next().text().length());
  }

  @Test
  void aConsumerMayCloseItsGeneration() {
    generation.onChunk(chunk -> generation.close());
    say(1, "a");
    assertEquals(FinishReason.CANCELLED, generation.result().join().finishReason());
    assertEquals(List.of("cancelled by the caller"), details);
  }
}

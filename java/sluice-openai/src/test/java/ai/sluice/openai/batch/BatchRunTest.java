package ai.sluice.openai.batch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.EngineFailedException;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.openai.Results;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class BatchRunTest extends BatchFolder {
  @Test
  void everyLineIsAnsweredWithinTheWindow() throws IOException {
    lines(500);
    try (FakeEngine engine = new FakeEngine(7)) {
      BatchStatus status = run(engine);
      assertEquals(500, status.answered());
      assertEquals(0, status.failed());
      assertEquals(1500, status.promptTokens());
      assertEquals(500, status.cachedPromptTokens());
      assertEquals(1.0, status.share());
      assertEquals(7, engine.most());
    }
    Map<String, JsonNode> answers = answers();
    assertEquals(500, answers.size());
    assertEquals("3txet", text(answers.get("id3")));
  }

  @Test
  void twoEnginesShareTheLines() throws IOException {
    lines(200);
    try (FakeEngine one = new FakeEngine(4);
        FakeEngine two = new FakeEngine(8)) {
      assertEquals(200, run(one, two).answered());
      assertTrue(one.submitted.size() > 20 && two.submitted.size() > 20);
    }
    assertEquals(200, answers().size());
  }

  @Test
  void anEngineThatFailsLeavesItsLinesToTheOther() throws IOException {
    lines(100);
    AtomicInteger count = new AtomicInteger();
    try (FakeEngine broken =
            new FakeEngine(
                8,
                request -> {
                  if (count.incrementAndGet() > 10) {
                    throw new EngineFailedException("device lost", null);
                  }
                  return Results.answer(FakeEngine.turned(request));
                });
        FakeEngine sound = new FakeEngine(4)) {
      BatchStatus status = run(broken, sound);
      assertEquals(100, status.answered());
      assertEquals(0, status.failed());
    }
    assertEquals(100, answers().size());
  }

  @Test
  void withoutAnEngineLeftTheRestIsForALaterRun() throws IOException {
    lines(100);
    AtomicInteger count = new AtomicInteger();
    try (FakeEngine broken =
        new FakeEngine(
            8,
            request -> {
              if (count.incrementAndGet() > 10) {
                throw new EngineFailedException("device lost", null);
              }
              return Results.answer(FakeEngine.turned(request));
            })) {
      BatchException failure = assertThrows(BatchException.class, () -> run(broken));
      assertTrue(failure.getMessage().startsWith("engine: device lost (expected: an engine"));
    }
    int before = answers().size();
    assertTrue(before > 0 && before <= 10, "answered: " + before);
    try (FakeEngine engine = new FakeEngine(8)) {
      BatchStatus status = run(engine);
      assertEquals(100, status.before() + status.answered());
      assertEquals(before, status.before());
      assertEquals(100 - before, engine.submitted.size());
    }
    assertEquals(100, answers().size());
  }

  @Test
  void aFullQueueIsNoFailure() throws IOException {
    lines(100);
    AtomicInteger count = new AtomicInteger();
    try (FakeEngine engine =
        new FakeEngine(
            8,
            request ->
                count.incrementAndGet() % 3 == 0
                    ? Results.ended(FinishReason.REJECTED, "queue: full")
                    : Results.answer(FakeEngine.turned(request)))) {
      assertEquals(100, run(engine).answered());
    }
    assertEquals("99txet", text(answers().get("id99")));
  }

  @Test
  void aTimeoutIsTriedAgainAndThenTold() throws IOException {
    Files.write(input, List.of(line("slow", "slow"), line("flaky", "flaky"), line("ok", "ok")));
    Map<String, AtomicInteger> tries = new ConcurrentHashMap<>();
    try (FakeEngine engine =
        new FakeEngine(
            8,
            request -> {
              String prompt = FakeEngine.prompt(request);
              int n = tries.computeIfAbsent(prompt, p -> new AtomicInteger()).incrementAndGet();
              assertEquals(Duration.ofSeconds(5), request.timeout().orElseThrow());
              return prompt.equals("slow") || (prompt.equals("flaky") && n < 3)
                  ? Results.ended(FinishReason.TIMEOUT, "")
                  : Results.answer(prompt);
            })) {
      BatchOptions options =
          new BatchOptions(false, 0, Optional.of(Duration.ofSeconds(5)), 2);
      BatchStatus status = run(options, engine);
      assertEquals(2, status.answered());
      assertEquals(1, status.failed());
    }
    assertEquals(3, tries.get("slow").get());
    assertEquals(408, answers().get("slow").at("/response/status_code").asInt());
    assertEquals("timeout", answers().get("slow").at("/response/body/error/code").asText());
    assertEquals("flaky", text(answers().get("flaky")));
  }

  @Test
  void aRefusalIsTheLinesOwn() throws IOException {
    Files.write(
        input,
        List.of(
            line("a", "a"),
            "{\"custom_id\":\"two\",\"body\":{\"prompt\":[\"good\",\"bad\",\"good\"]}}",
            line("b", "b")));
    try (FakeEngine engine =
        new FakeEngine(
            1,
            request -> {
              if (FakeEngine.prompt(request).equals("bad")) {
                throw new InvalidRequestException("logprobs: 50 (expected: at most 20)");
              }
              return Results.answer(FakeEngine.turned(request));
            })) {
      assertEquals(2, run(engine).answered());
    }
    JsonNode refused = answers().get("two");
    assertEquals(3, answers().size());
    assertEquals(400, refused.at("/response/status_code").asInt());
    assertEquals("logprobs", refused.at("/response/body/error/param").asText());
  }

  @Test
  void seedsAreTheLinesOwnAndTheSameInEveryRun() throws IOException {
    Files.write(
        input,
        List.of(
            line("a", "x"),
            line("b", "x"),
            "{\"custom_id\":\"c\",\"body\":{\"prompt\":[\"y\",\"y\"]}}",
            "{\"custom_id\":\"d\",\"body\":{\"prompt\":\"z\",\"seed\":9}}"));
    List<List<Long>> runs = new ArrayList<>();
    for (long seed : new long[] {0, 0, 1}) {
      try (FakeEngine engine = new FakeEngine(8)) {
        run(new BatchOptions(true, seed, Optional.empty(), 0), engine);
        runs.add(engine.submitted.stream().map(r -> r.seed().orElseThrow()).toList());
      }
    }
    assertEquals(runs.get(0), runs.get(1));
    assertEquals(5, Set.copyOf(runs.get(0)).size());
    assertNotEquals(runs.get(0).get(0), runs.get(2).get(0));
    assertEquals(9, runs.get(2).get(4));
  }

  @Test
  void stoppingFinishesWhatRuns() throws Exception {
    lines(50);
    CountDownLatch go = new CountDownLatch(1);
    CountDownLatch first = new CountDownLatch(1);
    try (FakeEngine engine = waiting(first, go);
        BatchRun run = BatchRun.open(input, output, BatchOptions.defaults())) {
      Thread stopper =
          new Thread(
              () -> {
                awaitQuietly(first);
                run.stop();
                go.countDown();
              });
      stopper.start();
      BatchStatus status = run.run(List.of(engine), MODEL, s -> {});
      stopper.join();
      assertFalse(run.isComplete());
      assertEquals(engine.submitted.size(), status.answered());
      assertTrue(status.answered() < 50, "answered: " + status.answered());
    }
    try (FakeEngine engine = new FakeEngine(4)) {
      run(engine);
    }
    assertEquals(50, answers().size());
  }

  @Test
  void cancellingLeavesWhatRunsToALaterRun() throws Exception {
    lines(50);
    CountDownLatch first = new CountDownLatch(1);
    try (FakeEngine engine = waiting(first, new CountDownLatch(1));
        BatchRun run = BatchRun.open(input, output, BatchOptions.defaults())) {
      Thread canceller =
          new Thread(
              () -> {
                awaitQuietly(first);
                run.cancel();
              });
      canceller.start();
      BatchStatus status = run.run(List.of(engine), MODEL, s -> {});
      canceller.join();
      assertFalse(run.isComplete());
      assertEquals(0, status.done());
    }
    try (FakeEngine engine = new FakeEngine(4)) {
      assertEquals(50, run(engine).answered());
    }
  }

  @Test
  void anInterruptCancels() throws Exception {
    lines(50);
    CountDownLatch first = new CountDownLatch(1);
    Thread tested = Thread.currentThread();
    try (FakeEngine engine = waiting(first, new CountDownLatch(1));
        BatchRun run = BatchRun.open(input, output, BatchOptions.defaults())) {
      Thread interrupter =
          new Thread(
              () -> {
                awaitQuietly(first);
                tested.interrupt();
              });
      interrupter.start();
      BatchStatus status = run.run(List.of(engine), MODEL, s -> {});
      assertTrue(Thread.interrupted());
      interrupter.join();
      assertEquals(0, status.done());
    }
    try (FakeEngine engine = new FakeEngine(4)) {
      assertEquals(50, run(engine).answered());
    }
  }

  private static FakeEngine waiting(CountDownLatch first, CountDownLatch go) {
    return new FakeEngine(
        4,
        request -> {
          first.countDown();
          awaitQuietly(go);
          return Results.answer(FakeEngine.turned(request));
        });
  }

  @Test
  void aListenerThatThrowsEndsTheRunWithNothingLost() throws IOException {
    lines(50);
    try (FakeEngine engine = new FakeEngine(4);
        BatchRun run = BatchRun.open(input, output, BatchOptions.defaults())) {
      assertThrows(
          ArithmeticException.class,
          () ->
              run.run(
                  List.of(engine),
                  MODEL,
                  status -> {
                    throw new ArithmeticException("listener");
                  }));
    }
    try (FakeEngine engine = new FakeEngine(4)) {
      run(engine);
    }
    assertEquals(50, answers().size());
  }

  @Test
  void wrongResultsAreNotWritten() throws IOException {
    lines(3);
    GenerationResult nothing = Results.ended(FinishReason.ERROR, "logits: NaN");
    try (FakeEngine engine = new FakeEngine(4, request -> nothing)) {
      assertEquals(3, run(engine).failed());
    }
    assertEquals(
        "generation failed: logits: NaN",
        answers().get("id0").at("/response/body/error/message").asText());
  }

  @Test
  void streamsAreRefused() throws IOException {
    Files.write(
        input, List.of("{\"custom_id\":\"a\",\"body\":{\"prompt\":\"a\",\"stream\":true}}"));
    try (FakeEngine engine = new FakeEngine(4)) {
      assertEquals(1, run(engine).failed());
    }
    assertEquals("stream", answers().get("a").at("/response/body/error/param").asText());
  }
}

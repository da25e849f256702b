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
import ai.sluice.openai.ServedModel;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class BatchRunTest {
  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static final ServedModel MODEL =
      new ServedModel(Set.of("tiny"), "fp_1", Optional.empty());

  @TempDir Path folder;
  private Path input;
  private Path output;

  @BeforeEach
  void paths() {
    input = folder.resolve("in.jsonl");
    output = folder.resolve("out.jsonl");
  }

  private static String line(String id, String prompt) {
    return "{\"custom_id\":\"" + id + "\",\"body\":{\"prompt\":\"" + prompt + "\"}}";
  }

  private void lines(int count) throws IOException {
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      lines.add(line("id" + i, "text" + i));
    }
    Files.write(input, lines);
  }

  private BatchStatus run(BatchEngine... engines) {
    return run(BatchOptions.defaults(), engines);
  }

  private BatchStatus run(BatchOptions options, BatchEngine... engines) {
    try (BatchRun run = BatchRun.open(input, output, options)) {
      BatchStatus status = run.run(List.of(engines), MODEL, s -> {});
      assertTrue(run.isComplete());
      return status;
    }
  }

  /** The lines by custom_id, each there once. */
  private Map<String, JsonNode> answers() throws IOException {
    Map<String, JsonNode> answers = new LinkedHashMap<>();
    String text = Files.readString(output);
    assertTrue(text.isEmpty() || text.endsWith("\n"));
    for (String line : text.split("\n")) {
      if (!line.isEmpty()) {
        JsonNode node = MAPPER.readTree(line);
        assertEquals(null, answers.put(node.get("custom_id").asText(), node), line);
      }
    }
    return answers;
  }

  private static String text(JsonNode line) {
    return line.at("/response/body/choices/0/text").asText();
  }

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

  private static void awaitQuietly(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
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
  void anOutputCutAnywhereIsContinued() throws IOException {
    lines(4);
    try (FakeEngine engine = new FakeEngine(1)) {
      run(engine);
      byte[] whole = Files.readAllBytes(output);
      Map<String, JsonNode> expected = answers();
      for (int cut = 0; cut <= whole.length; cut += 29) {
        Files.write(output, java.util.Arrays.copyOf(whole, cut));
        run(engine);
        Map<String, JsonNode> answers = answers();
        assertEquals(expected.keySet(), answers.keySet(), "cut at " + cut);
        expected.forEach((id, line) -> assertEquals(text(line), text(answers.get(id))));
      }
    }
  }

  @Test
  void badLinesHaveTheirLine() throws IOException {
    String[] bad = {
      "{", "[]", "{\"body\":{}}", "{\"custom_id\":5,\"body\":{}}", "{\"custom_id\":\"\",\"body\":{}}",
      "{\"custom_id\":\"" + "x".repeat(513) + "\",\"body\":{}}",
      "{\"custom_id\":\"\\ud800\",\"body\":{}}", "{\"custom_id\":\"a\"}",
      "{\"custom_id\":\"b\",\"body\":[]}", "{\"custom_id\":\"c\",\"body\":{},\"more\":1}",
      "{\"custom_id\":\"d\",\"method\":\"GET\",\"body\":{}}",
      "{\"custom_id\":\"e\",\"url\":\"/v1/embeddings\",\"body\":{}}",
      "{\"custom_id\":\"f\",\"url\":7,\"body\":{}}", line("a", "used"), "{\"custom_id\":NaN}",
      "{\"a\":" + "[".repeat(10_000) + "]".repeat(10_000) + "}"
    };
    Files.write(input, List.of(bad));
    Files.write(input, new byte[] {(byte) 0xff, '\n'}, StandardOpenOption.APPEND);
    try (FakeEngine engine = new FakeEngine(4)) {
      BatchStatus status = run(engine);
      assertEquals(bad.length + 1, status.failed());
      assertEquals(0, engine.submitted.size());
    }
    List<String> lines = Files.readAllLines(output);
    assertEquals(bad.length + 1, lines.size());
    for (int i = 0; i < lines.size(); i++) {
      JsonNode node = MAPPER.readTree(lines.get(i));
      assertEquals(i + 1, node.at("/error/line").asInt(), lines.get(i));
      assertTrue(node.get("response").isNull());
      assertTrue(node.at("/error/message").asText().contains(" (expected: "), lines.get(i));
      assertTrue(lines.get(i).length() < 600, lines.get(i));
    }
    assertEquals("a", MAPPER.readTree(lines.get(7)).get("custom_id").asText());
    assertEquals(
        "duplicate_custom_id", MAPPER.readTree(lines.get(13)).at("/error/code").asText());
  }

  @Test
  void aLineThatIsTooLongIsNotKept() throws IOException {
    byte[] part = new byte[1 << 20];
    java.util.Arrays.fill(part, (byte) 'a');
    for (int i = 0; i < 65; i++) {
      Files.write(input, part, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }
    Files.writeString(input, "\n\n" + line("b", "b"), StandardOpenOption.APPEND);
    try (FakeEngine engine = new FakeEngine(4)) {
      assertEquals(1, run(engine).answered());
    }
    JsonNode bad = MAPPER.readTree(Files.readAllLines(output).get(0));
    assertEquals("line_too_long", bad.at("/error/code").asText());
    assertEquals(
        "line: 68157440 bytes (expected: at most 67108864)", bad.at("/error/message").asText());
    try (FakeEngine engine = new FakeEngine(4)) {
      assertEquals(2, run(engine).before());
    }
  }

  @Test
  void linesMayBeAddedButNotChanged() throws IOException {
    lines(10);
    try (FakeEngine engine = new FakeEngine(4)) {
      run(engine);
      Files.writeString(input, line("more", "more") + "\n", StandardOpenOption.APPEND);
      BatchStatus status = run(engine);
      assertEquals(10, status.before());
      assertEquals(1, status.answered());
      lines(5);
      InvalidRequestException fewer =
          assertThrows(InvalidRequestException.class, () -> run(engine));
      assertTrue(fewer.getMessage().contains("has only 5 of the 11 lines"), fewer.getMessage());
      ServedModel other = new ServedModel(Set.of("tiny"), "fp_2", Optional.empty());
      lines(10);
      Files.writeString(input, line("more", "more") + "\n", StandardOpenOption.APPEND);
      try (BatchRun run = BatchRun.open(input, output, BatchOptions.defaults())) {
        assertThrows(
            InvalidRequestException.class, () -> run.run(List.of(engine), other, s -> {}));
      }
    }
    assertEquals(11, answers().size());
  }

  @Test
  void anOutputHasOneWriter() throws IOException {
    lines(1);
    try (BatchRun run = BatchRun.open(input, output, BatchOptions.defaults())) {
      BatchException second =
          assertThrows(
              BatchException.class, () -> BatchRun.open(input, output, BatchOptions.defaults()));
      assertTrue(second.getMessage().contains("written by another process"));
    }
  }

  @Test
  void theInputIsNeverTheOutput() throws IOException {
    lines(1);
    byte[] before = Files.readAllBytes(input);
    BatchOptions restart = new BatchOptions(true, 0, Optional.empty(), 0);
    assertThrows(InvalidRequestException.class, () -> BatchRun.open(input, input, restart));
    Path link = Files.createSymbolicLink(folder.resolve("link"), input);
    assertThrows(InvalidRequestException.class, () -> BatchRun.open(input, link, restart));
    assertEquals(
        new String(before, StandardCharsets.UTF_8), Files.readString(input));
  }

  @Test
  void anInputThatIsCutMeanwhileIsToldAndNothingIsLost() throws IOException {
    lines(15_000);
    long size = Files.size(input);
    CountDownLatch go = new CountDownLatch(1);
    try (FakeEngine engine =
            new FakeEngine(
                2,
                request -> {
                  awaitQuietly(go);
                  return Results.answer(FakeEngine.turned(request));
                });
        BatchRun run = BatchRun.open(input, output, BatchOptions.defaults())) {
      byte[] all = Files.readAllBytes(input);
      Files.write(input, java.util.Arrays.copyOf(all, (int) size / 2));
      go.countDown();
      BatchException cut =
          assertThrows(
              BatchException.class, () -> run.run(List.of(engine), MODEL, s -> {}));
      assertTrue(cut.getMessage().contains("it was cut while it was read"), cut.getMessage());
      Files.write(input, all);
    }
    try (FakeEngine engine = new FakeEngine(64)) {
      BatchStatus status = run(engine);
      assertEquals(15_000, status.before() + status.answered());
    }
    assertEquals(15_000, answers().size());
  }

  @Test
  void aByteOrderMarkAndCarriageReturnsAreNoMatter() throws IOException {
    Files.writeString(
        input, "\uFEFF" + line("a", "x") + "\r\n \t\r\n" + line("b", "y") + "\r\n");
    try (FakeEngine engine = new FakeEngine(4)) {
      assertEquals(2, run(engine).answered());
    }
  }

  @Test
  void emptyInputsGiveEmptyOutputs() throws IOException {
    Files.writeString(input, "");
    try (FakeEngine engine = new FakeEngine(4)) {
      assertEquals(0, run(engine).done());
    }
    assertEquals(0, Files.size(output));
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

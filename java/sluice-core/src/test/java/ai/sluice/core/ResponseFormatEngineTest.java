package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ResponseFormat;
import ai.sluice.api.Sampling;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A model that says random bytes keeps to the form that is asked for. */
@Timeout(600)
class ResponseFormatEngineTest {
  private static final ResponseFormat WORD = ResponseFormat.regex("[ab]{3,9}c|x[0-9]+y");

  @TempDir static Path folder;
  private static Engine engine;

  @BeforeAll
  static void open() {
    engine =
        Engine.open(
            EngineOptions.builder()
                .model(ByteTokenizer.copyWithTokenizer("llama3_rope", folder, ""))
                .dtype(ComputeDtype.FLOAT32)
                .maxSequences(6)
                .build());
  }

  @AfterAll
  static void close() {
    engine.close();
  }

  private static GenerationRequest.Builder request(long seed) {
    return GenerationRequest.builder()
        .prompt("give me ")
        .sampling(Sampling.builder().temperature(2).build())
        .seed(seed)
        .maxNewTokens(200);
  }

  private static void assertWord(GenerationResult result) {
    if (result.finishReason() == FinishReason.STOP) {
      assertTrue(result.text().matches("[ab]{3,9}c|x[0-9]+y"), result.text());
    } else {
      assertEquals(FinishReason.LENGTH, result.finishReason(), result.detail());
      assertTrue(result.text().matches("x[0-9]+"), result.text());
    }
  }

  @Test
  void expressionsAreKeptToBesideOthersThatAreFree() {
    List<List<Integer>> alone = new ArrayList<>();
    for (int i = 0; i < 10; i++) {
      alone.add(engine.generate(request(i).build()).tokens());
    }
    List<Generation> bound = new ArrayList<>();
    List<Generation> free = new ArrayList<>();
    for (int i = 0; i < 10; i++) {
      bound.add(engine.submit(request(i).responseFormat(WORD).build()));
      free.add(engine.submit(request(i).build()));
    }
    int stopped = 0;
    for (int i = 0; i < 10; i++) {
      GenerationResult result = bound.get(i).result().join();
      assertWord(result);
      stopped += result.finishReason() == FinishReason.STOP ? 1 : 0;
      assertEquals(alone.get(i), free.get(i).result().join().tokens());
    }
    assertTrue(stopped > 0);
  }

  @Test
  void alternativesHaveStatesOfTheirOwn() {
    GenerationResult result = engine.generate(request(7).responseFormat(WORD).n(6).build());
    assertWord(result);
    assertEquals(5, result.alternatives().size());
    result.alternatives().forEach(ResponseFormatEngineTest::assertWord);
  }

  @Test
  void withoutAStopTokenTheFormEndsTheAnswer() {
    ResponseFormat format = ResponseFormat.regex("[a-c]{4}");
    GenerationResult result =
        engine.generate(request(1).responseFormat(format).ignoreEos(true).build());
    assertTrue(result.text().matches("[a-c]{4}"), result.text());
    assertEquals(FinishReason.STOP, result.finishReason());
  }

  @Test
  void schemasAreKeptTo() {
    Map<String, Object> schema =
        Map.of(
            "type", "object",
            "properties",
                Map.of("ok", Map.of("type", "boolean")),
            "required", List.of("ok"),
            "additionalProperties", false);
    for (int i = 0; i < 5; i++) {
      GenerationResult result =
          engine.generate(
              request(i).responseFormat(ResponseFormat.jsonSchema(schema)).maxNewTokens(400)
                  .build());
      assertEquals(FinishReason.STOP, result.finishReason(), result.text());
      assertTrue(
          result.text().matches("(?s)\\s*\\{\\s*\"ok\"\\s*:\\s*(true|false)\\s*}\\s*"),
          result.text());
    }
  }

  @Test
  void whatIsNotSupportedIsRefusedAndNothingWaits() {
    assertThrows(
        InvalidRequestException.class,
        () ->
            engine.submit(
                request(1).responseFormat(ResponseFormat.regex("(?<=a)b")).build()));
    assertThrows(
        InvalidRequestException.class,
        () ->
            engine.submit(
                request(1)
                    .responseFormat(ResponseFormat.jsonSchema(Map.of("type", "nothing")))
                    .build()));
    assertEquals(0, engine.metrics().waiting());
    try (Engine plain = Engine.open(Fixtures.options("llama").maxContextLength(64).build())) {
      assertThrows(
          CheckpointFormatException.class,
          () ->
              plain.submit(
                  GenerationRequest.builder().promptTokens(1).responseFormat(WORD).build()));
    }
  }

  @Test
  void anInterruptWhileCompilingCancels() throws Exception {
    CountDownLatch done = new CountDownLatch(1);
    GenerationResult[] result = new GenerationResult[1];
    Thread thread =
        new Thread(
            () -> {
              Thread.currentThread().interrupt();
              result[0] =
                  engine.generate(
                      request(3).responseFormat(ResponseFormat.regex("z{5000}")).build());
              assertTrue(Thread.currentThread().isInterrupted());
              done.countDown();
            });
    thread.start();
    done.await();
    assertEquals(FinishReason.CANCELLED, result[0].finishReason());
  }
}

package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ChatMessage;
import ai.sluice.api.Chunk;
import ai.sluice.api.ChunkKind;
import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ReasoningFormat;
import ai.sluice.api.ResponseFormat;
import ai.sluice.api.Sampling;
import ai.sluice.api.ToolCall;
import ai.sluice.api.ToolCallDelta;
import ai.sluice.api.ToolCallFormat;
import ai.sluice.api.ToolDefinition;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * Reasoning, calls of tools and slow readers on a model that says random bytes: what it has to say
 * is made certain by an expression.
 */
@Timeout(600)
class OutputEngineTest {
  private static final Sampling HOT = Sampling.builder().temperature(3).build();
  private static final List<ToolDefinition> TOOLS =
      List.of(ToolDefinition.function("f", "a tool", Map.of()));

  /** Ends within reasoning when asked to; tokens 5 and 6 are the markers. */
  private static final String TEMPLATE =
      "{% for m in messages %}<|3|>{{ m.role }}:{% if m.reasoning_content %}<think>\n"
          + "{{ m.reasoning_content }}\n</think>\n\n{% endif %}{{ m.content }}{% endfor %}"
          + "{% if tools %}<|4|><tool_call>{% endif %}<|3|>assistant:"
          + "{% if add_generation_prompt and inside %}<think>\n{% endif %}";

  @TempDir static Path folder;
  private static Engine engine;

  @BeforeAll
  static void open() throws IOException {
    Path model = ByteTokenizer.copyWithTokenizer("llama3_rope", folder, TEMPLATE);
    Path tokenizer = model.resolve("tokenizer.json");
    Files.writeString(
        tokenizer,
        Files.readString(tokenizer).replace("<|5|>", "<think>").replace("<|6|>", "</think>"));
    engine =
        Engine.open(
            EngineOptions.builder()
                .model(model)
                .dtype(ComputeDtype.FLOAT32)
                .maxSequences(4)
                .maxUnreadBytes(1024)
                .build());
  }

  @AfterAll
  static void close() {
    engine.close();
  }

  private static GenerationRequest.Builder request(long seed, boolean inside) {
    return GenerationRequest.builder()
        .messages(List.of(ChatMessage.user("hi")))
        .templateVariables(Map.of("inside", inside))
        .sampling(HOT)
        .seed(seed)
        .maxNewTokens(150)
        .ignoreEos(true);
  }

  private static GenerationRequest.Builder says(long seed, String text) {
    String literal = text.replaceAll("[\\[\\]{}()|.?*+^$\\\\]", "\\\\$0");
    return request(seed, false)
        .reasoningFormat(ReasoningFormat.OFF) // or a random model might begin to reason
        .responseFormat(ResponseFormat.regex(literal));
  }

  /** What chunks of one alternative join to. */
  private record Streamed(
      String answer, String reasoning, List<String> calls, List<Integer> tokens) {
    static Streamed of(Iterable<Chunk> chunks) {
      StringBuilder answer = new StringBuilder();
      StringBuilder reasoning = new StringBuilder();
      List<String> calls = new ArrayList<>();
      List<Integer> tokens = new ArrayList<>();
      for (Chunk chunk : chunks) {
        tokens.addAll(chunk.tokens());
        if (chunk.kind() == ChunkKind.TOOL_CALL) {
          ToolCallDelta delta = chunk.toolCall().orElseThrow();
          if (delta.index() == calls.size()) {
            calls.add(delta.id().orElseThrow() + " " + delta.name().orElseThrow() + " ");
          } else {
            assertEquals(Optional.empty(), delta.id());
            assertEquals(Optional.empty(), delta.name());
          }
          calls.set(delta.index(), calls.get(delta.index()) + delta.arguments());
        } else {
          (chunk.kind() == ChunkKind.REASONING ? reasoning : answer).append(chunk.text());
        }
      }
      return new Streamed(answer.toString(), reasoning.toString(), calls, tokens);
    }
  }

  @Test
  void reasoningIsToldApartAndEndsAtItsBound() {
    for (int seed = 0; seed < 5; seed++) {
      GenerationRequest request = request(seed, true).maxReasoningTokens(10).build();
      GenerationResult result = engine.generate(request);
      // 10 random bytes, then the marker and the line ends that the template puts around it.
      List<Integer> tokens = result.tokens();
      if (tokens.subList(0, 10).contains(6)) {
        continue; // it ended by itself
      }
      int lineEnd = ByteTokenizer.FIRST_BYTE + '\n';
      assertEquals(List.of(lineEnd, 6, lineEnd, lineEnd), tokens.subList(10, 14));
      assertTrue(result.reasoning().length() <= 10, result.reasoning());
      assertEquals(150, tokens.size());
      assertFalse(result.text().isEmpty());
      try (Generation generation = engine.submit(request)) {
        Streamed streamed = Streamed.of(generation);
        assertEquals(tokens, streamed.tokens());
        assertEquals(result.text(), streamed.answer());
        assertEquals(result.reasoning(), streamed.reasoning());
      }
      // The bound changes nothing before it.
      assertEquals(
          engine.generate(request(seed, true).build()).tokens().subList(0, 10),
          tokens.subList(0, 10));
    }
  }

  @Test
  void aGrammarBeginsAfterTheReasoning() {
    GenerationResult result =
        engine.generate(
            request(3, true)
                .maxReasoningTokens(5)
                .responseFormat(ResponseFormat.regex("[0-9]{4}"))
                .ignoreEos(false)
                .build());
    assertTrue(result.text().matches("[0-9]{4}"), result.text());
    assertEquals(FinishReason.STOP, result.finishReason());
    assertTrue(result.tokens().contains(6));
  }

  @Test
  void callsAreToldApart() {
    String said =
        "Let me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": \"1 2\"}}\n</tool_call>"
            + "\n<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>";
    GenerationRequest request = says(7, said).tools(TOOLS).ignoreEos(false).build();
    GenerationResult result = engine.generate(request);
    assertEquals("Let me see.", result.text());
    assertEquals(FinishReason.TOOL_CALLS, result.finishReason());
    assertEquals("", result.detail());
    assertEquals(2, result.toolCalls().size());
    ToolCall first = result.toolCalls().get(0);
    assertEquals("f", first.name());
    assertEquals(Map.of("x", "1 2"), first.arguments());
    assertTrue(first.id().orElseThrow().matches("[A-Za-z0-9]{9}"));
    assertNotEquals(first.id(), result.toolCalls().get(1).id());
    try (Generation generation = engine.submit(request)) {
      Streamed streamed = Streamed.of(generation);
      assertEquals(
          List.of(
              first.id().get() + " f {\"x\": \"1 2\"}",
              result.toolCalls().get(1).id().orElseThrow() + " g {}"),
          streamed.calls());
      assertEquals("Let me see.", streamed.answer());
      assertEquals(result.tokens(), streamed.tokens());
    }
    // Without tools, or with the format off, all of it is the answer.
    assertEquals(said, engine.generate(says(7, said).build()).text());
    assertEquals(
        said,
        engine.generate(says(7, said).tools(TOOLS).toolCallFormat(ToolCallFormat.OFF).build())
            .text());
  }

  @Test
  void aCallThatIsCutOffIsText() {
    String said = "<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": 1";
    GenerationResult result =
        engine.generate(
            says(1, said + "}}").tools(TOOLS).maxNewTokens(said.length()).build());
    assertEquals(FinishReason.LENGTH, result.finishReason());
    assertEquals(said, result.text());
    assertEquals(List.of(), result.toolCalls());
    assertTrue(result.detail().contains("cut off"), result.detail());
  }

  @Test
  void stopStringsAreLookedForInEverything() {
    String said = "<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": 1}}</tool_call>";
    GenerationResult result =
        engine.generate(says(1, said).tools(TOOLS).stop("\"x\"").build());
    assertEquals(FinishReason.STOP, result.finishReason());
    assertEquals("<tool_call>{\"name\": \"f\", \"arguments\": {", result.text());
  }

  @Test
  void anotherFormatCanBeNamed() {
    GenerationResult result =
        engine.generate(
            says(2, "[THINK]hm[/THINK]ok").reasoningFormat(ReasoningFormat.MISTRAL).build());
    assertEquals("hm", result.reasoning());
    assertEquals("ok", result.text());
    assertEquals(
        "[THINK]hm[/THINK]ok", engine.generate(says(2, "[THINK]hm[/THINK]ok").build()).text());
  }

  @Test
  void promptsAreContinuedAsTheyAre() {
    GenerationResult result =
        engine.generate(
            GenerationRequest.builder().prompt("x").maxNewTokens(9)
                .reasoningFormat(ReasoningFormat.MISTRAL)
                .responseFormat(ResponseFormat.regex("\\[THINK\\]hm"))
                .build());
    assertEquals("[THINK]hm", result.text());
  }

  @Test
  void aBoundWithoutReasoningIsRefused() {
    String off =
        assertThrows(
                InvalidRequestException.class,
                () ->
                    engine.submit(
                        request(1, false).maxReasoningTokens(5)
                            .reasoningFormat(ReasoningFormat.OFF).build()))
            .getMessage();
    assertTrue(off.startsWith("maxReasoningTokens: 5 (expected: unset; "), off);
    String plain =
        assertThrows(
                InvalidRequestException.class,
                () ->
                    engine.submit(
                        GenerationRequest.builder().prompt("x").maxReasoningTokens(0).build()))
            .getMessage();
    assertTrue(plain.contains("messages only"), plain);
  }

  @Test
  void severalAlternativesAreReadEachByItself() {
    GenerationRequest request = request(11, true).maxReasoningTokens(8).n(3).build();
    GenerationResult result = engine.generate(request);
    assertEquals(2, result.alternatives().size());
    for (GenerationResult each : result.all()) {
      GenerationResult alone =
          engine.generate(
              request(each.seed(), true).maxReasoningTokens(8).build());
      assertEquals(alone.tokens(), each.tokens());
      assertEquals(alone.reasoning(), each.reasoning());
      assertEquals(alone.text(), each.text());
    }
  }

  @Test
  void aReaderThatStopsReadingLosesItsGenerationAndNobodyElse() {
    CountDownLatch hold = new CountDownLatch(1);
    List<Chunk> seen = new ArrayList<>();
    Generation stuck = engine.submit(request(1, false).maxNewTokens(400).build());
    stuck.onChunk(
        chunk -> {
          seen.add(chunk);
          try {
            hold.await();
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
          }
        });
    // Others are served meanwhile, as often as one likes.
    GenerationRequest other = request(2, false).maxNewTokens(60).build();
    List<Integer> tokens = engine.generate(other).tokens();
    for (int i = 0; i < 5; i++) {
      assertEquals(tokens, engine.generate(other).tokens());
    }
    assertFalse(stuck.result().isDone());
    hold.countDown();
    GenerationResult result = stuck.result().join();
    assertEquals(FinishReason.CANCELLED, result.finishReason());
    assertTrue(result.detail().contains("maxUnreadBytes"), result.detail());
    assertEquals(Streamed.of(seen).tokens(), result.tokens());
    assertTrue(result.tokens().size() < 400, "tokens: " + result.tokens().size());
  }

  @Test
  void aConsumerMayCloseTheEngine(@TempDir Path other) {
    Engine own =
        Engine.open(
            EngineOptions.builder()
                .model(ByteTokenizer.copyWithTokenizer("llama3_rope", other, TEMPLATE))
                .build());
    CompletableFuture<Void> closed = new CompletableFuture<>();
    Generation generation = own.submit(request(1, false).maxNewTokens(400).build());
    generation.onChunk(
        chunk -> {
          own.close();
          closed.complete(null);
        });
    closed.join();
    assertEquals(FinishReason.CANCELLED, generation.result().join().finishReason());
  }
}

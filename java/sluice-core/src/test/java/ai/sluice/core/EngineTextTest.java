package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ChatMessage;
import ai.sluice.api.Chunk;
import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.Sampling;
import ai.sluice.api.ToolDefinition;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Text in and out, on a model that says random bytes. */
@Timeout(600)
class EngineTextTest {
  private static final Sampling HOT = Sampling.builder().temperature(3).build();

  private static final String TEMPLATE =
      "{% for m in messages %}{% if m.role == 'bard' %}{{ raise_exception('no bards') }}{% endif %}"
          + "<|3|>{{ m.role }}:{{ m.content }}{% endfor %}"
          + "{% if tools %}<|4|>[{{ tools[0].function.name }}]{% endif %}{{ mood }}"
          + "{% if add_generation_prompt %}<|3|>assistant:{% endif %}";

  @TempDir static Path folder;
  private static Engine engine;

  @BeforeAll
  static void open() {
    engine =
        Engine.open(
            EngineOptions.builder()
                .model(ByteTokenizer.copyWithTokenizer("llama3_rope", folder, TEMPLATE))
                .dtype(ComputeDtype.FLOAT32)
                .maxSequences(4)
                .build());
  }

  @AfterAll
  static void close() {
    engine.close();
  }

  private static GenerationRequest.Builder request(long seed) {
    return GenerationRequest.builder().prompt("héllo 世界").sampling(HOT).seed(seed)
        .maxNewTokens(60).ignoreEos(true);
  }

  /** What the tokens' bytes say, without our decoder. */
  private static String decode(List<Integer> tokens) {
    ByteBuffer bytes = ByteBuffer.allocate(tokens.size());
    for (int token : tokens) {
      if (token >= ByteTokenizer.FIRST_BYTE && token < ByteTokenizer.FIRST_BYTE + 256) {
        bytes.put((byte) (token - ByteTokenizer.FIRST_BYTE));
      }
    }
    return new String(bytes.array(), 0, bytes.position(), StandardCharsets.UTF_8);
  }

  @Test
  void textIsTokenizedAndNothingIsAdded() {
    assertTrue(engine.modelInfo().hasTokenizer());
    GenerationResult result = engine.generate(request(1).build());
    assertEquals(
        "héllo 世界".getBytes(StandardCharsets.UTF_8).length, result.usage().promptTokens());
  }

  @Test
  void chunksNeverEndInsideACharacter() {
    int many = 0;
    for (int seed = 0; seed < 30; seed++) {
      StringBuilder text = new StringBuilder();
      List<Integer> tokens = new ArrayList<>();
      try (Generation generation = engine.submit(request(seed).build())) {
        for (Chunk chunk : generation) {
          String part = chunk.text();
          assertFalse(
              !part.isEmpty() && Character.isHighSurrogate(part.charAt(part.length() - 1)));
          text.append(part);
          tokens.addAll(chunk.tokens());
        }
        GenerationResult result = generation.result().join();
        assertEquals(result.text(), text.toString());
        assertEquals(result.tokens(), tokens);
      }
      assertEquals(decode(tokens), text.toString());
      many += text.toString().codePoints().anyMatch(c -> c > 127 && c != 0xFFFD) ? 1 : 0;
    }
    assertTrue(many > 3, "some outputs hold characters of several bytes");
  }

  @Test
  void aStopStringEndsTheTextBeforeIt() {
    int stopped = 0;
    for (int seed = 0; seed < 20; seed++) {
      String whole = engine.generate(request(seed).build()).text();
      int begin = whole.length() / 2;
      String stop = whole.substring(begin, Math.min(whole.length(), begin + 2));
      if (Character.isSurrogate(stop.charAt(0)) || Character.isSurrogate(stop.charAt(1))
          || stop.indexOf('\uFFFD') >= 0) {
        continue;
      }
      StringBuilder streamed = new StringBuilder();
      GenerationResult result;
      try (Generation generation =
          engine.submit(request(seed).stop(stop, "never in the text").build())) {
        generation.forEach(chunk -> streamed.append(chunk.text()));
        result = generation.result().join();
      }
      assertEquals(FinishReason.STOP, result.finishReason());
      assertEquals(whole.substring(0, whole.indexOf(stop)), result.text());
      assertEquals(result.text(), streamed.toString());
      assertTrue(result.tokens().size() < 60);
      stopped++;
    }
    assertTrue(stopped > 5, "stopped: " + stopped);
  }

  @Test
  void heldBackTextComesAtTheEnd() {
    String whole = engine.generate(request(5).build()).text();
    String last = whole.substring(whole.length() - 1);
    GenerationResult result =
        engine.generate(request(5).stop(last + " and what never follows").build());
    assertEquals(FinishReason.LENGTH, result.finishReason());
    assertEquals(whole, result.text());
  }

  @Test
  void aStopTokenHasNoText() {
    GenerationResult free = engine.generate(request(9).build());
    int at = 10;
    while (free.tokens().indexOf(free.tokens().get(at)) != at) {
      at++;
    }
    GenerationResult result =
        engine.generate(request(9).stopTokenIds(free.tokens().get(at)).build());
    assertEquals(FinishReason.STOP, result.finishReason());
    assertEquals(free.tokens().subList(0, at + 1), result.tokens());
    assertEquals(decode(free.tokens().subList(0, at)), result.text());
  }

  @Test
  void aStopTextThatIsASpecialTokenStopsAtTheToken() {
    int stopped = 0;
    for (int seed = 0; seed < 200 && stopped < 3; seed++) {
      GenerationResult free = engine.generate(request(seed).build());
      int at = 0;
      while (at < 60 && free.tokens().get(at) >= ByteTokenizer.FIRST_BYTE) {
        at++;
      }
      if (at == 60) {
        continue;
      }
      int special = free.tokens().get(at);
      GenerationResult result =
          engine.generate(request(seed).stop("<|" + special + "|>").build());
      assertEquals(FinishReason.STOP, result.finishReason());
      assertEquals(free.tokens().subList(0, at + 1), result.tokens());
      assertEquals(decode(free.tokens().subList(0, at)), result.text());
      stopped++;
    }
    assertEquals(3, stopped, "some outputs hold special tokens");
  }

  @Test
  void logProbabilitiesShowTheTextOfTokens() {
    GenerationResult result = engine.generate(request(3).logprobs(2).build());
    result.logprobs().stream()
        .filter(l -> l.token() > ByteTokenizer.FIRST_BYTE + 32 && l.token() < 137)
        .forEach(
            l ->
                assertEquals(
                    String.valueOf((char) (l.token() - ByteTokenizer.FIRST_BYTE)), l.text()));
  }

  @Test
  void chatMessagesGoThroughTheTemplate() {
    assertTrue(engine.modelInfo().hasChatTemplate());
    GenerationRequest chat =
        GenerationRequest.builder()
            .messages(List.of(ChatMessage.system("be brief"), ChatMessage.user("hé {{ 7 * 7 }}")))
            .tools(List.of(ToolDefinition.function("now", "tells the time", Map.of())))
            .templateVariables(Map.of("mood", "calm"))
            .sampling(HOT)
            .seed(4)
            .maxNewTokens(12)
            .build();
    String rendered = "<|3|>system:be brief<|3|>user:hé {{ 7 * 7 }}<|4|>[now]calm<|3|>assistant:";
    GenerationResult result = engine.generate(chat);
    GenerationResult plain =
        engine.generate(
            GenerationRequest.builder().prompt(rendered).sampling(HOT).seed(4).maxNewTokens(12)
                .build());
    assertEquals(plain.usage().promptTokens(), result.usage().promptTokens());
    assertEquals(plain.tokens(), result.tokens());
    assertTrue(engine.chatTemplate().source().contains("mood"));
  }

  @Test
  void messagesThatTheTemplateRefusesAreRefused() {
    InvalidRequestException e =
        assertThrows(
            InvalidRequestException.class,
            () ->
                engine.submit(
                    GenerationRequest.builder()
                        .messages(List.of(ChatMessage.builder("bard").content("x").build()))
                        .build()));
    assertTrue(e.getMessage().contains("no bards"), e.getMessage());
  }

  @Test
  void specialTokensOfAPromptAreTaken() {
    GenerationResult result =
        engine.generate(request(1).prompt("<|3|>a").maxNewTokens(1).build());
    assertEquals(2, result.usage().promptTokens());
  }
}

package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ChatMessage;
import ai.sluice.api.Chunk;
import ai.sluice.api.ChunkKind;
import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.Timings;
import ai.sluice.api.Usage;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ChatSessionTest {
  @TempDir Path folder;
  private final ByteArrayOutputStream out = new ByteArrayOutputStream();
  private final ByteArrayOutputStream err = new ByteArrayOutputStream();
  private final List<GenerationRequest> requests = new ArrayList<>();

  /** A model that repeats the last message in two pieces. */
  private GenerationResult echo(GenerationRequest request, Consumer<Chunk> chunks) {
    requests.add(request);
    List<ChatMessage> messages = request.messages();
    String said = messages.get(messages.size() - 1).content().orElseThrow();
    if (said.equals("too long")) {
      throw new InvalidRequestException("prompt: 9 tokens (expected: at most 8)");
    }
    if (said.equals("think")) {
      chunks.accept(new Chunk(ChunkKind.REASONING, 0, "hm", List.of(1), List.of()));
    }
    chunks.accept(new Chunk(ChunkKind.ANSWER, 0, "echo ", List.of(1), List.of()));
    chunks.accept(new Chunk(ChunkKind.ANSWER, 0, said, List.of(2), List.of()));
    if (said.equals("think")) {
      return new GenerationResult(
          "echo think", "hm", List.of(), List.of(1, 2), List.of(), FinishReason.STOP, "", 7,
          new Usage(10, 4, 2), new Timings(1000, 2000, 3000, 6000), List.of());
    }
    return new GenerationResult(
        "echo " + said, List.of(1, 2), List.of(), FinishReason.STOP, "", 7,
        new Usage(10, 4, 2), new Timings(1000, 2000, 3000, 6000));
  }

  private void chat(String... lines) {
    byte[] in = (String.join("\n", lines) + "\n").getBytes(StandardCharsets.UTF_8);
    Console console =
        new Console(new ByteArrayInputStream(in), out, err, Map.of(), false, false);
    new ChatSession(
            console, new PipedInput(console.in()), this::echo, GenerationRequest.builder(), false)
        .run();
  }

  private String out() {
    return out.toString(StandardCharsets.UTF_8);
  }

  private String err() {
    return err.toString(StandardCharsets.UTF_8);
  }

  private static List<String> roles(GenerationRequest request) {
    return request.messages().stream().map(ChatMessage::role).toList();
  }

  @Test
  void answersAndRemembers() {
    chat("hello", "", "again", "/exit", "never");
    assertEquals("echo hello\necho again\n", out());
    assertEquals(List.of("user"), roles(requests.get(0)));
    assertEquals(List.of("user", "assistant", "user"), roles(requests.get(1)));
    assertEquals("", err());
  }

  @Test
  void reasoningIsNoPartOfWhatWasSaid() throws Exception {
    Path file = folder.resolve("chat.json");
    chat("think", "again", "/save " + file, "/load " + file, "more");
    assertEquals("echo think\necho again\necho more\n", out());
    assertTrue(err().startsWith("hm\n\n"), err());
    for (int i = 1; i < 3; i++) {
      ChatMessage answer = requests.get(i).messages().get(1);
      assertEquals("echo think", answer.content().orElseThrow());
      assertEquals("hm", answer.reasoning().orElseThrow());
    }
    assertTrue(requests.get(2).messages().get(3).reasoning().isEmpty());
  }

  @Test
  void resetForgetsAndSystemStartsOver() {
    chat("one", "/reset", "two", "/system Be brief.", "three", "/system", "four");
    assertEquals(List.of("user"), roles(requests.get(1)));
    assertEquals(List.of("system", "user"), roles(requests.get(2)));
    assertEquals("Be brief.", requests.get(2).messages().get(0).content().orElseThrow());
    assertEquals(List.of("user"), roles(requests.get(3)));
  }

  @Test
  void settingsReachTheNextAnswer() {
    chat("/set temperature 0.5", "/set top_k 7", "/set max-new-tokens 9", "/set seed 3", "hi");
    GenerationRequest request = requests.get(0);
    assertEquals(0.5, request.sampling().temperature().orElseThrow());
    assertEquals(7, request.sampling().topK().orElseThrow());
    assertEquals(9, request.maxNewTokens().orElseThrow());
    assertEquals(3, request.seed().orElseThrow());
  }

  @Test
  void settingsAreShown() {
    chat("/set", "/set temperature 0.5", "/set maxNewTokens 9", "/set");
    assertEquals(
        "nothing set: the model decides\n"
            + "temperature=0.5, maxNewTokens=9; the model decides the rest\n",
        err());
  }

  @Test
  void badCommandsAreSaidAndChangeNothing() {
    chat(
        "/set temperature -1", "/set temperature abc", "/set volume 11", "/set x", "/jump",
        "/save", "/load nowhere.json", "hi");
    List<String> lines = err().lines().toList();
    assertEquals(7, lines.size(), err());
    assertTrue(lines.stream().allMatch(line -> line.startsWith("sluice: ")), err());
    assertTrue(lines.get(0).contains("temperature: -1.0 (expected: 0.0 to 100.0)"), err());
    assertTrue(lines.get(4).contains("/jump: unknown command"), err());
    assertFalse(requests.get(0).sampling().temperature().isPresent());
    assertEquals("echo hi\n", out());
  }

  @Test
  void aRefusedMessageIsNotRemembered() {
    chat("hi", "too long", "next");
    assertTrue(err().contains("expected: at most 8); /reset starts over"), err());
    assertEquals(List.of("user", "assistant", "user"), roles(requests.get(2)));
    assertEquals("next", requests.get(2).messages().get(2).content().orElseThrow());
  }

  @Test
  void severalLinesBetweenQuotes() {
    chat("\"\"\"", "first", "/second", "\"\"\"", "\"\"\"one line\"\"\"");
    assertEquals("first\n/second\n", requests.get(0).messages().get(0).content().orElseThrow());
    assertEquals("one line", requests.get(1).messages().get(2).content().orElseThrow());
  }

  @Test
  void savedConversationsComeBack() throws Exception {
    Path file = folder.resolve("chat.json");
    chat("/system Rules", "天空 \"quoted\"", "/save " + file, "/reset", "/load " + file, "next");
    assertTrue(Files.readString(file).contains("天空 \\\"quoted\\\""), Files.readString(file));
    GenerationRequest request = requests.get(1);
    assertEquals(List.of("system", "user", "assistant", "user"), roles(request));
    assertEquals("Rules", request.messages().get(0).content().orElseThrow());
    assertEquals("天空 \"quoted\"", request.messages().get(1).content().orElseThrow());
  }

  @Test
  void statsTellTheLastAnswer() {
    chat("/stats", "hi", "/stats");
    assertEquals(
        "no answer yet\n10 prompt tokens (4 cached), 3000.0 t/s; first token after 0.00 s; 2 new"
            + " tokens, 333.3 t/s; ended by the model\n",
        err());
  }
}

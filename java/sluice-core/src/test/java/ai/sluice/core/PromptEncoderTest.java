package ai.sluice.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ChatMessage;
import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.ToolDefinition;
import ai.sluice.checkpoint.Checkpoint;
import ai.sluice.text.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Where chat templates come from, and what becomes of special tokens. */
class PromptEncoderTest {
  private static final GenerationRequest PLAIN =
      GenerationRequest.builder().messages(List.of(ChatMessage.user("a<|7|>"))).build();
  private static final GenerationRequest WITH_TOOL =
      PLAIN.toBuilder()
          .tools(List.of(ToolDefinition.function("now", "tells the time", Map.of())))
          .build();

  @TempDir Path folder;

  @BeforeEach
  void prepare() throws IOException {
    ByteTokenizer.copyWithTokenizer("llama", folder, "");
    Files.delete(folder.resolve("chat_template.jinja"));
  }

  private String rendered(GenerationRequest request) {
    Checkpoint checkpoint = Checkpoint.open(folder);
    try (Tokenizer tokenizer = Tokenizer.fromFile(folder.resolve("tokenizer.json"))) {
      PromptEncoder encoder = new PromptEncoder(checkpoint, tokenizer, 1 << 20);
      return tokenizer.decode(encoder.encode(request), false);
    }
  }

  @Test
  void theTemplateForToolsIsTakenForRequestsWithTools() throws IOException {
    Files.writeString(
        folder.resolve("tokenizer_config.json"),
        """
        {"chat_template": [{"name": "default", "template": "usual {{ messages[0].content }}"},
                           {"name": "tool_use", "template": "tools {{ messages[0].content }}"}]}
        """);
    assertEquals("usual a<|7|>", rendered(PLAIN));
    assertEquals("tools a<|7|>", rendered(WITH_TOOL));
  }

  @Test
  void aFileOfItsOwnWins() throws IOException {
    Files.writeString(
        folder.resolve("tokenizer_config.json"),
        """
        {"chat_template": [{"name": "default", "template": "usual"},
                           {"name": "tool_use", "template": "tools"}]}
        """);
    Files.writeString(folder.resolve("chat_template.jinja"), "file {{ tools is not none }}");
    assertEquals("file False", rendered(PLAIN));
    assertEquals("file True", rendered(WITH_TOOL));
  }

  @Test
  void theOlderFileIsReadToo() throws IOException {
    Files.writeString(
        folder.resolve("chat_template.json"),
        "{\"chat_template\": \"older {{ messages[0].role }}\"}");
    assertEquals("older user", rendered(PLAIN));
    assertEquals("older user", rendered(WITH_TOOL));
  }

  @Test
  void withoutATemplateMessagesAreRefused() {
    CheckpointFormatException e =
        assertThrows(CheckpointFormatException.class, () -> rendered(PLAIN));
    assertTrue(e.getMessage().contains("chat_template"), e.getMessage());
  }

  @Test
  void specialTokensInsideAMessageAreTaken() throws IOException {
    Files.writeString(
        folder.resolve("chat_template.jinja"), "<|3|>{{ messages[0].content }}");
    try (Tokenizer tokenizer = Tokenizer.fromFile(folder.resolve("tokenizer.json"))) {
      PromptEncoder encoder =
          new PromptEncoder(Checkpoint.open(folder), tokenizer, 1 << 20);
      assertArrayEquals(
          new int[] {3, ByteTokenizer.FIRST_BYTE + 'a', 7}, encoder.encode(PLAIN));
    }
  }

  @Test
  void literalContentIsText() throws IOException {
    Files.writeString(
        folder.resolve("chat_template.jinja"),
        "<|3|>{{ messages[0].role }}:{{ messages[0].content | trim }}<|4|>");
    try (Tokenizer tokenizer = Tokenizer.fromFile(folder.resolve("tokenizer.json"))) {
      PromptEncoder encoder =
          new PromptEncoder(Checkpoint.open(folder), tokenizer, 1 << 20);
      for (String text : List.of(
          "a<|7|>", "<|7|><|3|> <<|3|>", "<|7|", "plain", " <|7|> ", "\uFDD0<|7|>")) {
        GenerationRequest request =
            GenerationRequest.builder()
                .messages(List.of(ChatMessage.user(text)))
                .literalContent(true)
                .build();
        int[] tokens = encoder.encode(request);
        assertEquals(3, tokens[0]);
        assertEquals(4, tokens[tokens.length - 1]);
        for (int i = 1; i < tokens.length - 1; i++) {
          assertTrue(tokens[i] >= ByteTokenizer.FIRST_BYTE, text);
        }
        assertEquals("<|3|>user:" + text.strip() + "<|4|>", tokenizer.decode(tokens, false));
      }
    }
  }
}

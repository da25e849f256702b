package ai.sluice.text;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.ChatMessage;
import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.SluiceException;
import ai.sluice.api.ToolCall;
import ai.sluice.api.ToolDefinition;
import ai.sluice.api.UnsupportedModelException;
import ai.sluice.text.SpecialTokens.Token;
import ai.sluice.text.jinja.GoldenFiles;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** Chat templates through the public API. */
class ChatTemplateTest {
  private static final SpecialTokens TOKENS =
      SpecialTokens.of(
          new Token(1, "<s>"), new Token(2, "</s>"), new Token(0, "<unk>"), new Token(3, "<pad>"));
  private static final JsonNode CHATS = GoldenFiles.json("chats.json");

  @TestFactory
  Stream<DynamicTest> conversationsRenderAsInJinja2() throws IOException {
    List<String> names;
    try (Stream<Path> files = Files.list(GoldenFiles.FOLDER.resolve("templates"))) {
      names =
          files.map(file -> file.getFileName().toString().replace(".jinja", "")).sorted().toList();
    }
    return names.stream()
        .map(
            name ->
                DynamicTest.dynamicTest(
                    name,
                    () -> {
                      JsonNode expected = GoldenFiles.json("expected/" + name + ".json");
                      ChatTemplate template = golden(name);
                      for (JsonNode chat : CHATS) {
                        List<ChatMessage> messages = messages(chat);
                        String key =
                            chat.path("name").asText()
                                + switch (template.form(messages)) {
                                  case USUAL -> "";
                                  case ARGUMENTS_AS_TEXT -> "/arguments_as_text";
                                  case EMPTY_CONTENT -> "/empty_content";
                                  case ARGUMENTS_AS_TEXT_EMPTY_CONTENT ->
                                      "/arguments_as_text_empty_content";
                                };
                        JsonNode golden = expected.path(key);
                        assertTrue(golden.isObject(), key);
                        if (golden.has("text")) {
                          assertEquals(
                              golden.path("text").asText(), render(template, chat, messages), key);
                        } else {
                          SluiceException failure =
                              assertThrows(
                                  SluiceException.class,
                                  () -> render(template, chat, messages),
                                  key);
                          assertEquals(
                              golden.path("error").asText().equals("unknown"),
                              failure instanceof UnsupportedModelException,
                              key);
                          if (golden.has("message")) {
                            assertTrue(
                                failure.getMessage().contains(golden.path("message").asText()),
                                key);
                          }
                        }
                      }
                    }));
  }

  private static ChatTemplate golden(String name) {
    return ChatTemplate.parse(
        GoldenFiles.text("templates/" + name + ".jinja"), null, null, GoldenFiles.CLOCK);
  }

  private static String render(ChatTemplate template, JsonNode chat, List<ChatMessage> messages) {
    List<ToolDefinition> tools = new ArrayList<>();
    for (JsonNode tool : chat.path("tools")) {
      tools.add(ToolDefinition.fromJson(object(tool)));
    }
    return template.render(
        messages, tools, object(chat.path("extra")), chat.path("generation").asBoolean(), TOKENS);
  }

  @SuppressWarnings("unchecked")
  private static Map<String, @Nullable Object> object(JsonNode node) {
    Object value = GoldenFiles.value(node);
    return value == null ? Map.of() : (Map<String, @Nullable Object>) value;
  }

  private static List<ChatMessage> messages(JsonNode chat) {
    List<ChatMessage> messages = new ArrayList<>();
    for (JsonNode source : chat.path("messages")) {
      ChatMessage.Builder message = ChatMessage.builder(source.path("role").asText());
      message.content(source.path("content").isNull() ? null : source.path("content").asText());
      if (source.has("name")) {
        message.name(source.path("name").asText());
      }
      if (source.has("tool_call_id")) {
        message.toolCallId(source.path("tool_call_id").asText());
      }
      if (source.has("reasoning_content")) {
        message.reasoning(source.path("reasoning_content").asText());
      }
      List<ToolCall> calls = new ArrayList<>();
      for (JsonNode call : source.path("tool_calls")) {
        calls.add(
            ToolCall.of(
                call.path("id").asText(),
                call.path("name").asText(),
                object(call.path("arguments"))));
      }
      messages.add(message.toolCalls(calls).build());
    }
    return messages;
  }

  @Test
  void toolCallsTakeTheFormThatTheTemplateKnows() {
    List<ChatMessage> call =
        List.of(ChatMessage.assistant(List.of(ToolCall.of("i", "f", Map.of("a", 1)))));
    assertEquals(ChatTemplate.MessageForm.ARGUMENTS_AS_TEXT, golden("npm-deepseek_v3").form(call));
    assertEquals(
        ChatTemplate.MessageForm.USUAL, golden("meta-llama-Llama-3.1-8B-Instruct").form(call));
    assertEquals(ChatTemplate.MessageForm.EMPTY_CONTENT, golden("npm-qwen3").form(call));
  }

  @Test
  void textOfMessagesIsNeverATemplate() {
    ChatTemplate template =
        ChatTemplate.parse(
            "{% set x = messages[0].content %}{{ x }}|{{ x | trim }}|{{ x ~ '' }}|{{ x |"
                + " replace('zz', 'b') }}{% macro m(v) %}{{ v }}{% endmacro %}|{{ m(x) }}");
    String text = "{{ 7*7 }}{% for i in range(9) %}x{% endfor %}{# c #}";
    String rendered = render(template, text);
    assertEquals(String.join("|", text, text, text, text, text), rendered);
  }

  @Test
  void malformedTemplatesNameTheLine() {
    CheckpointFormatException e =
        assertThrows(
            CheckpointFormatException.class, () -> ChatTemplate.parse("a\nb\n{% if x %}\n{{ y"));
    assertTrue(e.getMessage().contains("line 4"), e.getMessage());
    for (String source :
        List.of(
            "{% if %}",
            "{% include 'x' %}",
            "{% for x in y %}",
            "{{ 'a }}",
            "{% endif %}",
            "(".repeat(10) + "{{ " + "(".repeat(5000) + "}}",
            "{{ " + "-".repeat(5000) + "1 }}",
            "{% if x %}".repeat(5000))) {
      assertThrows(CheckpointFormatException.class, () -> ChatTemplate.parse(source));
    }
    assertThrows(
        CheckpointFormatException.class, () -> ChatTemplate.parse("x".repeat((1 << 20) + 1)));
  }

  @Test
  void aTemplateForToolsIsTakenForConversationsWithTools() {
    Path origin = Path.of("model.gguf");
    ChatTemplate template =
        ChatTemplate.fromTemplates(Map.of("default", "usual", "tool_use", "tools"), origin)
            .orElseThrow();
    List<ChatMessage> messages = List.of(ChatMessage.user("x"));
    ToolDefinition tool = ToolDefinition.function("now", "tells the time", Map.of());
    assertEquals("usual", template.render(messages, List.of(), Map.of(), true, TOKENS));
    assertEquals("tools", template.render(messages, List.of(tool), Map.of(), true, TOKENS));
    assertTrue(ChatTemplate.fromTemplates(Map.of("tool_use", "tools"), origin).isEmpty());
    CheckpointFormatException e =
        assertThrows(
            CheckpointFormatException.class,
            () -> ChatTemplate.fromTemplates(Map.of("default", "{% if %}"), origin));
    assertTrue(e.getMessage().contains("model.gguf"), e.getMessage());
  }

  @Test
  void templatesCanRefuseWithTheirOwnWords() {
    ChatTemplate template =
        ChatTemplate.parse("{{ raise_exception('Roles must alternate: ' ~ messages[0].role) }}");
    InvalidRequestException e =
        assertThrows(InvalidRequestException.class, () -> render(template, "x"));
    assertTrue(e.getMessage().contains("Roles must alternate: user"), e.getMessage());
  }

  @Test
  void unknownFiltersAreNamedWithWhatThereIs() {
    UnsupportedModelException e =
        assertThrows(
            UnsupportedModelException.class,
            () -> render(ChatTemplate.parse("\n{{ messages | frobnicate }}"), "x"));
    assertTrue(e.getMessage().contains("frobnicate"), e.getMessage());
    assertTrue(e.getMessage().contains("line 2"), e.getMessage());
    assertTrue(e.getMessage().contains("tojson"), e.getMessage());
  }

  @Test
  void badRequestsAreRefused() {
    ChatTemplate template = ChatTemplate.parse("{{ messages }}");
    assertThrows(
        InvalidRequestException.class,
        () -> template.render(List.of(), List.of(), Map.of(), true, TOKENS));
    assertThrows(
        InvalidRequestException.class,
        () ->
            template.render(
                List.of(ChatMessage.user("x")), List.of(), Map.of("messages", 1), true, TOKENS));
    assertThrows(
        InvalidRequestException.class,
        () ->
            template.render(
                List.of(ChatMessage.user("x")),
                List.of(),
                Map.of("o", new Object()),
                true,
                TOKENS));
    Map<String, Object> cyclic = new HashMap<>();
    cyclic.put("self", cyclic);
    assertThrows(
        InvalidRequestException.class,
        () -> template.render(List.of(ChatMessage.user("x")), List.of(), cyclic, true, TOKENS));
    assertThrows(InvalidRequestException.class, () -> ToolDefinition.fromJson(cyclic));
    assertThrows(InvalidRequestException.class, () -> ToolCall.of("", Map.of()));
    assertThrows(InvalidRequestException.class, () -> ChatMessage.builder(""));
  }

  @Test
  void templatesAreFoundInModelFolders(@TempDir Path folder) throws IOException {
    assertTrue(ChatTemplate.fromFolder(folder).isEmpty());
    Files.writeString(
        folder.resolve("tokenizer_config.json"),
        "{\"chat_template\": [{\"name\": \"default\", \"template\": \"plain\"},"
            + " {\"name\": \"tool_use\", \"template\": \"with {{ tools | length }}\"}]}");
    ChatTemplate both = ChatTemplate.fromFolder(folder).orElseThrow();
    assertEquals("plain", render(both, "x"));
    assertEquals(
        "with 1",
        both.render(
            List.of(ChatMessage.user("x")),
            List.of(ToolDefinition.function("f", "", Map.of())),
            Map.of(),
            true,
            TOKENS));
    Files.writeString(folder.resolve("chat_template.jinja"), "file\n");
    assertEquals("file", render(ChatTemplate.fromFolder(folder).orElseThrow(), "x"));
  }

  @Test
  void messagesKeepTheirOrderOfKeysAndExtras() {
    ChatMessage message = ChatMessage.builder("user").content("c").extra("eot", true).build();
    Map<String, @Nullable Object> extra = new LinkedHashMap<>();
    extra.put("b", 1);
    extra.put("a", List.of(1.5, "x"));
    assertEquals(
        "{'role': 'user', 'content': 'c', 'eot': True}|1|[1.5, 'x']|<s>",
        ChatTemplate.parse("{{ messages[0] }}|{{ b }}|{{ a }}|{{ bos_token }}")
            .render(List.of(message), List.of(), extra, false, TOKENS));
  }

  private static String render(ChatTemplate template, String text) {
    return template.render(List.of(ChatMessage.user(text)), List.of(), Map.of(), true, TOKENS);
  }
}

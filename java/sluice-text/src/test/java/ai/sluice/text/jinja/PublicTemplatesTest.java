package ai.sluice.text.jinja;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Public chat templates, each with every chat, against what Python's jinja2 renders. */
class PublicTemplatesTest {
  private static final JsonNode CHATS = GoldenFiles.json("chats.json");

  @TestFactory
  Stream<DynamicTest> templatesRenderAsInJinja2() throws IOException {
    return templates().stream()
        .flatMap(
            name -> {
              JsonNode expected = GoldenFiles.json("expected/" + name + ".json");
              Template template = Template.parse(GoldenFiles.text("templates/" + name + ".jinja"));
              List<DynamicTest> tests = new ArrayList<>();
              expected
                  .fields()
                  .forEachRemaining(
                      entry ->
                          tests.add(
                              DynamicTest.dynamicTest(
                                  name + ": " + entry.getKey(),
                                  () -> check(template, entry.getKey(), entry.getValue()))));
              return tests.stream();
            });
  }

  @Test
  void thereAreEnoughTemplates() throws IOException {
    assertTrue(templates().size() >= 40, templates().size() + " templates");
    assertTrue(CHATS.size() >= 12);
  }

  private static List<String> templates() throws IOException {
    try (Stream<Path> files = Files.list(GoldenFiles.FOLDER.resolve("templates"))) {
      return files
          .map(file -> file.getFileName().toString())
          .filter(name -> name.endsWith(".jinja"))
          .map(name -> name.substring(0, name.length() - ".jinja".length()))
          .sorted()
          .toList();
    }
  }

  private static void check(Template template, String name, JsonNode expected) {
    Map<String, @Nullable Object> variables =
        variables(
            name.replaceFirst("/.*", ""),
            name.contains("arguments_as_text"),
            name.contains("empty_content"));
    String outcome;
    try {
      outcome = template.render(variables, Limits.forInput(100, 10_000), GoldenFiles.CLOCK);
    } catch (TemplateRuntimeException e) {
      outcome =
          "error: "
              + switch (e.kind()) {
                case UNDEFINED -> "undefined";
                case SECURITY -> "security";
                case RAISED -> "raised " + e.getMessage();
                case UNSUPPORTED -> "unknown";
                default -> "runtime";
              };
    }
    assertEquals(
        expected.has("text")
            ? expected.path("text").asText()
            : "error: "
                + expected.path("error").asText()
                + (expected.has("message") ? " " + expected.path("message").asText() : ""),
        outcome);
  }

  private static Map<String, @Nullable Object> variables(
      String name, boolean argumentsAsText, boolean emptyContent) {
    JsonNode chat = null;
    for (JsonNode candidate : CHATS) {
      chat = candidate.path("name").asText().equals(name) ? candidate : chat;
    }
    List<@Nullable Object> messages = new ArrayList<>();
    for (JsonNode message : chat.path("messages")) {
      messages.add(message(message, argumentsAsText, emptyContent));
    }
    Map<String, @Nullable Object> variables = new LinkedHashMap<>();
    variables.put("messages", messages);
    variables.put("tools", GoldenFiles.value(chat.path("tools")));
    variables.put("documents", null);
    variables.put("add_generation_prompt", chat.path("generation").asBoolean());
    variables.put("bos_token", "<s>");
    variables.put("eos_token", "</s>");
    variables.put("unk_token", "<unk>");
    variables.put("pad_token", "<pad>");
    chat.path("extra")
        .fields()
        .forEachRemaining(
            entry -> variables.put(entry.getKey(), GoldenFiles.value(entry.getValue())));
    return variables;
  }

  private static Map<String, @Nullable Object> message(
      JsonNode source, boolean argumentsAsText, boolean emptyContent) {
    Map<String, @Nullable Object> message = new LinkedHashMap<>();
    message.put("role", source.path("role").asText());
    Object content = GoldenFiles.value(source.path("content"));
    message.put("content", content == null && emptyContent ? "" : content);
    for (String key : List.of("name", "tool_call_id", "reasoning_content")) {
      if (source.has(key)) {
        message.put(key, source.path(key).asText());
      }
    }
    if (source.has("tool_calls")) {
      List<@Nullable Object> calls = new ArrayList<>();
      for (JsonNode call : source.path("tool_calls")) {
        Map<String, @Nullable Object> function = new LinkedHashMap<>();
        function.put("name", call.path("name").asText());
        Object arguments = GoldenFiles.value(call.path("arguments"));
        function.put("arguments", argumentsAsText ? Template.json(arguments) : arguments);
        Map<String, @Nullable Object> wrapped = new LinkedHashMap<>();
        wrapped.put("id", call.path("id").asText());
        wrapped.put("type", "function");
        wrapped.put("function", function);
        calls.add(wrapped);
      }
      message.put("tool_calls", calls);
    }
    return message;
  }
}

package ai.sluice.api;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Messages, tool calls and tool definitions. */
class ChatMessageTest {

  @Test
  void valuesAreCopiedAndCannotChange() {
    List<Object> tags = new ArrayList<>(List.of("a"));
    Map<String, Object> arguments = new LinkedHashMap<>();
    arguments.put("tags", tags);
    arguments.put("count", 3);
    ToolCall call = ToolCall.of("id1", "search", arguments);
    tags.add("b");
    arguments.clear();
    assertEquals(Map.of("tags", List.of("a"), "count", 3L), call.arguments());
    assertThrows(UnsupportedOperationException.class, () -> call.arguments().put("x", "y"));
    assertThrows(
        UnsupportedOperationException.class,
        () ->
            ((Map<?, ?>)
                    ToolDefinition.function("f", "", Map.of("a", Map.of())).json().get("function"))
                .remove("name"));
  }

  @Test
  void numbersBecomeOneOfTwoTypes() {
    ToolCall call = ToolCall.of("f", Map.of("a", (byte) 1, "b", 2.5f, "c", 3L, "d", (short) 4));
    assertEquals(Map.of("a", 1L, "b", 2.5, "c", 3L, "d", 4L), call.arguments());
  }

  @Test
  void valuesThatAreNotJsonAreRefusedWithTheirPlace() {
    Map<String, Object> nested = Map.of("list", Arrays.asList(1, null, new Object()));
    InvalidRequestException e =
        assertThrows(InvalidRequestException.class, () -> ToolCall.of("f", nested));
    assertTrue(e.getMessage().contains("arguments.list[2]"), e.getMessage());
    assertThrows(InvalidRequestException.class, () -> ToolCall.of("f", Map.of("x", Double.NaN)));
    assertThrows(
        InvalidRequestException.class,
        () -> ToolDefinition.fromJson(Map.of("m", Map.of(1, "one"))));
    Map<String, Object> cyclic = new HashMap<>();
    cyclic.put("self", cyclic);
    assertThrows(InvalidRequestException.class, () -> ToolDefinition.fromJson(cyclic));
    assertThrows(InvalidRequestException.class, () -> ToolCall.of("", Map.of()));
    assertThrows(InvalidRequestException.class, () -> ToolDefinition.function("", "", Map.of()));
    assertThrows(InvalidRequestException.class, () -> ChatMessage.builder(""));
    assertThrows(
        InvalidRequestException.class,
        () -> ChatMessage.builder("user").extra("x", Thread.currentThread()).build());
  }

  @Test
  void buildersGoBothWays() {
    ChatMessage message =
        ChatMessage.builder("assistant")
            .content("text")
            .name("n")
            .reasoning("r")
            .toolCallId("t")
            .toolCalls(List.of(ToolCall.of("f", Map.of())))
            .extra("k", null)
            .build();
    assertEquals(message, message.toBuilder().build());
    assertEquals(message.hashCode(), message.toBuilder().build().hashCode());
    assertNotEquals(message, message.toBuilder().content("other").build());
    assertTrue(ChatMessage.assistant(List.of()).content().isEmpty());
    assertEquals("t9", ChatMessage.tool("t9", "x").toolCallId().orElseThrow());
  }

  @Test
  void textIsNotShownByToString() {
    assertFalse(ChatMessage.user("a secret").toString().contains("secret"));
  }
}

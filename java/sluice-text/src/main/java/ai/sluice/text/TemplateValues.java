package ai.sluice.text;

import ai.sluice.api.ChatMessage;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ToolCall;
import ai.sluice.api.ToolDefinition;
import ai.sluice.text.jinja.Limits;
import ai.sluice.text.jinja.Template;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Turns a request into the values that a template reads, and measures them on the way. */
final class TemplateValues {
  private static final int MAX_DEPTH = 100;

  private long values;
  private long chars;

  /** Bounds for a rendering of what was converted so far. */
  Limits limits() {
    return Limits.forInput(values, chars);
  }

  List<@Nullable Object> messages(List<ChatMessage> messages, ChatTemplate.MessageForm form) {
    List<@Nullable Object> list = new ArrayList<>(messages.size());
    for (ChatMessage message : messages) {
      list.add(message(message, form));
    }
    return list;
  }

  private Map<String, @Nullable Object> message(
      ChatMessage message, ChatTemplate.MessageForm form) {
    Map<String, @Nullable Object> map = new LinkedHashMap<>();
    put(map, "role", message.role());
    put(map, "content", message.content().orElse(form.emptyContent ? "" : null));
    message.name().ifPresent(name -> put(map, "name", name));
    message.toolCallId().ifPresent(id -> put(map, "tool_call_id", id));
    message.reasoning().ifPresent(reasoning -> put(map, "reasoning_content", reasoning));
    if (!message.toolCalls().isEmpty()) {
      List<@Nullable Object> calls = new ArrayList<>();
      for (ToolCall call : message.toolCalls()) {
        calls.add(call(call, form));
      }
      map.put("tool_calls", calls);
    }
    message.extra().forEach((key, value) -> put(map, key, value));
    return map;
  }

  private Map<String, @Nullable Object> call(ToolCall call, ChatTemplate.MessageForm form) {
    Map<String, @Nullable Object> function = new LinkedHashMap<>();
    put(function, "name", call.name());
    put(
        function,
        "arguments",
        form.argumentsAsText ? Template.json(call.arguments()) : call.arguments());
    Map<String, @Nullable Object> map = new LinkedHashMap<>();
    call.id().ifPresent(id -> put(map, "id", id));
    put(map, "type", "function");
    map.put("function", function);
    return map;
  }

  List<@Nullable Object> tools(List<ToolDefinition> tools) {
    List<@Nullable Object> list = new ArrayList<>();
    tools.forEach(tool -> list.add(copy("tools", tool.json())));
    return list;
  }

  private void put(Map<String, @Nullable Object> map, String key, @Nullable Object value) {
    map.put(key, copy(key, value));
  }

  /**
   * A copy in the types that templates know.
   *
   * @param name names the value in a failure
   */
  @Nullable Object copy(String name, @Nullable Object value) {
    return copy(name, value, 0);
  }

  private @Nullable Object copy(String name, @Nullable Object value, int depth) {
    values++;
    if (depth > MAX_DEPTH) {
      throw new InvalidRequestException(
          name + ": nested deeper than " + MAX_DEPTH + " levels (expected: fewer)");
    }
    if (value instanceof String text) {
      chars += text.length();
      return text;
    } else if (value instanceof Map<?, ?> map) {
      Map<String, @Nullable Object> copy = new LinkedHashMap<>();
      for (Map.Entry<?, ?> entry : map.entrySet()) {
        if (!(entry.getKey() instanceof String key)) {
          throw new InvalidRequestException(
              name + ": key " + entry.getKey() + " (expected: a string)");
        }
        chars += key.length();
        copy.put(key, copy(name, entry.getValue(), depth + 1));
      }
      return copy;
    } else if (value instanceof List<?> list) {
      List<@Nullable Object> copy = new ArrayList<>(list.size());
      for (Object element : list) {
        copy.add(copy(name, element, depth + 1));
      }
      return copy;
    } else if (value == null || value instanceof Boolean || value instanceof BigInteger) {
      return value;
    } else if (value instanceof Double || value instanceof Float || value instanceof BigDecimal) {
      return ((Number) value).doubleValue();
    } else if (value instanceof Long
        || value instanceof Integer
        || value instanceof Short
        || value instanceof Byte) {
      return ((Number) value).longValue();
    }
    throw new InvalidRequestException(
        name
            + ": a value of "
            + value.getClass().getName()
            + " (expected: a string, number, boolean, null, list or map)");
  }
}

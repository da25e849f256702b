package ai.sluice.openai;

import ai.sluice.api.ChatMessage;
import ai.sluice.api.ToolCall;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** Reads the messages of a chat. */
final class MessageFields {
  private static final Pattern ROLE = Pattern.compile("[A-Za-z_][A-Za-z0-9_-]{0,31}");

  private MessageFields() {}

  static List<ChatMessage> read(ArrayNode messages) {
    List<ChatMessage> list = new ArrayList<>(messages.size());
    for (JsonNode message : messages) {
      String path = "messages[" + list.size() + "]";
      list.add(message(Fields.object(path, message)));
    }
    return list;
  }

  private static ChatMessage message(Fields fields) {
    String role =
        fields.requiredText("role", "system, developer, user, assistant or tool");
    if (!ROLE.matcher(role).matches()) {
      throw Fields.invalid(
          fields.path("role"),
          Fields.shown(fields.required("role", "")),
          "system, developer, user, assistant, tool or a name of the template's own");
    }
    ChatMessage.Builder builder = ChatMessage.builder(role);
    String content = content(fields);
    List<ToolCall> calls = calls(fields);
    boolean assistant = role.equals("assistant");
    if (content == null && !(assistant && !calls.isEmpty())) {
      fields.required(
          "content",
          assistant
              ? "a string, an array of parts or tool_calls"
              : "a string or an array of parts");
    }
    if (!calls.isEmpty() && !assistant) {
      throw Fields.invalid(
          fields.path("tool_calls"), "in a message of " + role, "none but in assistant's");
    }
    builder.content(content).toolCalls(calls).name(fields.text("name"));
    builder.toolCallId(fields.text("tool_call_id"));
    builder.reasoning(reasoning(fields));
    // What OpenAI's own answers carry when they are sent back.
    fields.only("refusal", "null", "refusals are no content here");
    fields.only("annotations", "[]", "answers are text");
    fields.never("audio", "answers are text");
    fields.never("function_call", "use tool_calls");
    fields.refuseOthers();
    return builder.build();
  }

  private static @Nullable String reasoning(Fields fields) {
    String content = fields.text("reasoning_content");
    String other = fields.text("reasoning");
    return content != null ? content : other;
  }

  private static @Nullable String content(Fields fields) {
    JsonNode content = fields.value("content");
    String path = fields.path("content");
    if (content == null) {
      return null;
    }
    if (content.isTextual()) {
      return Fields.text(path, content);
    }
    if (!content.isArray()) {
      throw Fields.wrongType(path, content, "a string or an array of parts");
    }
    StringBuilder text = new StringBuilder();
    int index = 0;
    for (JsonNode part : content) {
      // Parts are separate pieces of a prompt; other servers part them by a line end too.
      text.append(index == 0 ? "" : "\n");
      text.append(part(Fields.object(path + "[" + index++ + "]", part)));
    }
    if (index == 0) {
      throw Fields.invalid(path, "an empty array", "at least one part");
    }
    return text.toString();
  }

  private static String part(Fields part) {
    String type = part.requiredText("type", "text");
    if (!type.equals("text")) {
      throw Fields.invalid(
          part.path("type"), Fields.shown(part.required("type", "")), "text; models here read"
              + " nothing else");
    }
    String text = part.requiredText("text", "a string");
    part.refuseOthers();
    return text;
  }

  private static List<ToolCall> calls(Fields fields) {
    ArrayNode array = fields.array("tool_calls");
    List<ToolCall> calls = new ArrayList<>();
    if (array != null) {
      for (JsonNode call : array) {
        calls.add(
            call(Fields.object(fields.path("tool_calls") + "[" + calls.size() + "]", call)));
      }
    }
    return calls;
  }

  private static ToolCall call(Fields call) {
    String id = call.text("id");
    // Calls that were gathered from a stream still carry their number.
    call.whole("index");
    call.only("type", "\"function\"", "models here call functions");
    Fields function =
        Fields.object(call.path("function"), call.required("function", "name and arguments"));
    String name = function.requiredText("name", "the name of a tool");
    Map<String, @Nullable Object> arguments = arguments(function);
    function.refuseOthers();
    call.refuseOthers();
    ToolCall[] made = new ToolCall[1];
    function.give(
        "name",
        name,
        value ->
            made[0] =
                id == null
                    ? ToolCall.of(value, arguments)
                    : ToolCall.of(id, value, arguments));
    return made[0];
  }

  /** OpenAI sends the arguments as a text of JSON, and templates want them as values. */
  private static Map<String, @Nullable Object> arguments(Fields function) {
    String path = function.path("arguments");
    JsonNode value = function.required("arguments", "a JSON object as a string");
    if (value.isObject()) {
      return Fields.map(path, value);
    }
    String json = Fields.text(path, value);
    if (json.isBlank()) {
      return Map.of();
    }
    try {
      return Fields.map(path, StrictBody.parse(json));
    } catch (OpenAiException e) {
      String message = e.error().message();
      throw new OpenAiException(
          OpenAiError.invalid(
              path, "invalid_value", path + message.substring(message.indexOf(':'))),
          e);
    }
  }
}

package ai.sluice.openai;

import ai.sluice.api.ToolCall;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;

/** Writes calls of tools. */
final class ToolCallJson {
  private static final ObjectMapper MAPPER = JsonMapper.builder().build();

  private ToolCallJson() {}

  /**
   * Writes calls, each with an id, since a tool's message refers to it.
   *
   * @param prefix makes ids of calls that have none
   */
  static void write(ArrayNode json, List<ToolCall> calls, String prefix) {
    for (ToolCall call : calls) {
      ObjectNode object = json.addObject();
      object.put("id", call.id().orElse(prefix + "_" + (json.size() - 1)));
      object.put("type", "function");
      object
          .putObject("function")
          .put("name", call.name())
          .put("arguments", text(call));
    }
  }

  /** OpenAI sends arguments as a text of JSON. */
  private static String text(ToolCall call) {
    try {
      return MAPPER.writeValueAsString(call.arguments());
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("arguments are JSON-like (a defect of Sluice)", e);
    }
  }
}

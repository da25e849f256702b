package ai.sluice.openai.batch;

import ai.sluice.openai.OpenAiError;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import org.jspecify.annotations.Nullable;

/** Makes output lines. The id comes first: the next start looks for it there. */
final class LineWriter {
  private static final ObjectMapper MAPPER = JsonMapper.builder().build();

  private LineWriter() {}

  /** The line of a body that was answered, be it by an error. */
  static byte[] answer(LineId id, String customId, int status, ObjectNode body) {
    ObjectNode line = JsonNodeFactory.instance.objectNode();
    line.put("id", id.toString());
    line.put("custom_id", customId);
    ObjectNode response = line.putObject("response");
    response.put("status_code", status);
    response.put("request_id", "req_" + id.hex());
    response.set("body", body);
    line.putNull("error");
    return bytes(line);
  }

  /** The line of a body that was refused or could not be answered. */
  static byte[] answer(LineId id, String customId, OpenAiError error) {
    return answer(id, customId, error.status(), error.toJson());
  }

  /** The line of a line that held no request. */
  static byte[] bad(LineId id, @Nullable String customId, String code, String message) {
    ObjectNode line = JsonNodeFactory.instance.objectNode();
    line.put("id", id.toString());
    line.put("custom_id", customId);
    line.putNull("response");
    line.putObject("error")
        .put("code", code)
        .put("message", message)
        .put("line", id.number());
    return bytes(line);
  }

  private static byte[] bytes(ObjectNode line) {
    try {
      // Through a string: half a surrogate pair becomes a question mark instead of a failure.
      return (MAPPER.writeValueAsString(line) + "\n").getBytes(StandardCharsets.UTF_8);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a tree of JSON has a text", e);
    }
  }
}

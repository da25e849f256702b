package ai.sluice.cli;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ToolDefinition;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Definitions of tools in files: a JSON list, as in OpenAI's requests. */
final class ToolFile {
  private ToolFile() {}

  /**
   * Reads definitions.
   *
   * @throws InvalidRequestException if the file is no such list, or a definition has no name
   */
  static List<ToolDefinition> read(String file) {
    String text = Utf8.readFile("--tools", file);
    List<Map<String, @Nullable Object>> objects;
    try {
      objects = new ObjectMapper().readValue(text, new TypeReference<>() {});
    } catch (JsonProcessingException e) {
      throw refused(file, e.getOriginalMessage(), e);
    }
    if (objects == null) {
      throw refused(file, "null", null);
    }
    for (Map<String, @Nullable Object> object : objects) {
      Object function = object == null ? null : object.get("function");
      if (!(function instanceof Map<?, ?> map) || !(map.get("name") instanceof String)) {
        throw refused(file, "a tool without function.name", null);
      }
    }
    return objects.stream().map(ToolDefinition::fromJson).toList();
  }

  private static InvalidRequestException refused(
      String file, String met, @Nullable Throwable cause) {
    return new InvalidRequestException(
        "--tools: " + file + ": " + met + " (expected: a list like [{\"type\": \"function\","
            + " \"function\": {\"name\": …, \"description\": …, \"parameters\": {…}}}])",
        cause);
  }
}

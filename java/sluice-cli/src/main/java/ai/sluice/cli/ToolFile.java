package ai.sluice.cli;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ToolDefinition;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Definitions of tools in files: a JSON list, as in OpenAI's requests. */
final class ToolFile {
  private static final ObjectMapper MAPPER =
      new ObjectMapper()
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .enable(JsonParser.Feature.STRICT_DUPLICATE_DETECTION);

  private ToolFile() {}

  /**
   * Reads definitions.
   *
   * @throws InvalidRequestException if the file is no such list, or a definition has no name
   */
  static List<ToolDefinition> read(String file) {
    String text = Utf8.readFile("--tools", file);
    JsonNode tools;
    try {
      tools = MAPPER.readTree(text);
    } catch (JsonProcessingException e) {
      throw refused(file, e.getOriginalMessage(), e);
    }
    if (!tools.isArray()) {
      String kind = tools.getNodeType().name().toLowerCase(Locale.ROOT);
      throw refused(file, tools.isMissingNode() ? "empty" : kind, null);
    }
    for (JsonNode tool : tools) {
      if (!tool.at("/function/name").isTextual()) {
        throw refused(file, "a tool without function.name", null);
      }
    }
    List<Map<String, @Nullable Object>> objects =
        MAPPER.convertValue(tools, new TypeReference<>() {});
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

package ai.sluice.api;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A tool that a model may call, as a JSON object in the form chat templates expect: {@code {"type":
 * "function", "function": {"name": …, "description": …, "parameters": {JSON schema}}}}. Immutable
 * and thread-safe.
 */
public final class ToolDefinition {
  private final Map<String, @Nullable Object> json;

  private ToolDefinition(Map<String, ? extends @Nullable Object> json) {
    this.json = JsonValues.copyObject("tools", json);
  }

  /**
   * Creates a function tool.
   *
   * @param name the function's name, not empty
   * @param description what the function does, in words for the model
   * @param parameters the JSON schema of the parameters; copied
   * @throws InvalidRequestException if the name is empty or a value is not JSON-like
   */
  public static ToolDefinition function(
      String name, String description, Map<String, ? extends @Nullable Object> parameters) {
    if (name.isEmpty()) {
      throw new InvalidRequestException("tools.function.name: empty (expected: a name)");
    }
    Map<String, Object> function = new LinkedHashMap<>();
    function.put("name", name);
    function.put("description", Objects.requireNonNull(description, "description"));
    function.put("parameters", parameters);
    Map<String, Object> tool = new LinkedHashMap<>();
    tool.put("type", "function");
    tool.put("function", function);
    return new ToolDefinition(tool);
  }

  /**
   * Creates a tool from its whole JSON object, handed to the chat template as it is.
   *
   * @param json the object; copied
   * @throws InvalidRequestException if a value is not JSON-like
   */
  public static ToolDefinition fromJson(Map<String, ? extends @Nullable Object> json) {
    return new ToolDefinition(json);
  }

  /** The whole JSON object, unmodifiable, keys in the order given. */
  public Map<String, @Nullable Object> json() {
    return json;
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof ToolDefinition tool && json.equals(tool.json);
  }

  @Override
  public int hashCode() {
    return json.hashCode();
  }

  @Override
  public String toString() {
    return "ToolDefinition" + json;
  }
}

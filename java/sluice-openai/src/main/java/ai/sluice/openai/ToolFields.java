package ai.sluice.openai;

import ai.sluice.api.ToolDefinition;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** Reads the tools of a chat and which of them may be called. */
final class ToolFields {
  /** As OpenAI's. */
  private static final int MAX_TOOLS = 128;

  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9_.-]{1,64}");

  private ToolFields() {}

  /** The tools that the model is told of. */
  static @Nullable List<ToolDefinition> read(Fields fields) {
    ArrayNode array = fields.array("tools");
    boolean none = choice(fields, array != null && !array.isEmpty());
    fields.only("parallel_tool_calls", "true", "a model calls as many tools as it will");
    if (array == null) {
      return null;
    }
    if (array.size() > MAX_TOOLS) {
      throw Fields.invalid("tools", array.size() + " tools", "at most " + MAX_TOOLS);
    }
    List<ToolDefinition> tools = new ArrayList<>();
    for (JsonNode tool : array) {
      tools.add(tool("tools[" + tools.size() + "]", tool));
    }
    // A model that is told of no tools calls none.
    return none ? List.of() : tools;
  }

  private static ToolDefinition tool(String path, JsonNode json) {
    Fields tool = Fields.object(path, json);
    String type = tool.requiredText("type", "function");
    if (!type.equals("function")) {
      throw Fields.invalid(
          tool.path("type"), Fields.shown(tool.required("type", "")), "function");
    }
    Fields function =
        Fields.object(tool.path("function"), tool.required("function", "an object with a name"));
    String name = function.requiredText("name", "the function's name");
    if (!NAME.matcher(name).matches()) {
      throw Fields.invalid(
          function.path("name"),
          Fields.shown(function.required("name", "")),
          "1 to 64 letters, digits, underscores, dots and hyphens");
    }
    function.text("description");
    function.object("parameters");
    function.only("strict", "false", "arguments are not held to their schema yet");
    function.refuseOthers();
    tool.refuseOthers();
    ToolDefinition[] made = new ToolDefinition[1];
    tool.give("function", Fields.map(path, json), map -> made[0] = ToolDefinition.fromJson(map));
    return made[0];
  }

  /** Whether no tool may be called. */
  private static boolean choice(Fields fields, boolean tools) {
    JsonNode choice = fields.value("tool_choice");
    if (choice == null) {
      return false;
    }
    boolean named = choice.isObject();
    String text = named ? "a named tool" : Fields.text("tool_choice", choice);
    if (named || text.equals("required")) {
      throw new OpenAiException(
          OpenAiError.invalid(
              "tool_choice",
              "unsupported_value",
              "tool_choice: " + text + " (expected: auto or none; a call cannot be forced yet)"));
    }
    if (!text.equals("auto") && !text.equals("none")) {
      throw Fields.invalid("tool_choice", Fields.shown(choice), "auto or none");
    }
    if (!tools && text.equals("auto")) {
      throw Fields.invalid("tool_choice", "auto without tools", "tools beside it");
    }
    return text.equals("none");
  }
}

package ai.sluice.api;

import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** A call of a tool that an assistant message asks for. Immutable and thread-safe. */
public final class ToolCall {
  private final @Nullable String id;
  private final String name;
  private final Map<String, @Nullable Object> arguments;

  private ToolCall(
      @Nullable String id, String name, Map<String, ? extends @Nullable Object> arguments) {
    this.id = id;
    this.name = Objects.requireNonNull(name, "name");
    if (name.isEmpty()) {
      throw new InvalidRequestException(
          "tool_calls.function.name: empty (expected: the name of a tool)");
    }
    this.arguments = JsonValues.copyObject("tool_calls.function.arguments", arguments);
  }

  /**
   * Creates a tool call without an id.
   *
   * @param name the name of the tool, not empty
   * @param arguments JSON-like values by parameter name: strings, booleans, integers, doubles,
   *     nulls, lists and maps of these; copied
   * @throws InvalidRequestException if the name is empty or a value is not JSON-like
   */
  public static ToolCall of(String name, Map<String, ? extends @Nullable Object> arguments) {
    return new ToolCall(null, name, arguments);
  }

  /**
   * Creates a tool call.
   *
   * @param id the id that the tool's result refers to
   * @param name the name of the tool, not empty
   * @param arguments JSON-like values by parameter name; copied
   * @throws InvalidRequestException if the name is empty or a value is not JSON-like
   */
  public static ToolCall of(
      String id, String name, Map<String, ? extends @Nullable Object> arguments) {
    return new ToolCall(Objects.requireNonNull(id, "id"), name, arguments);
  }

  /** The id that the tool's result refers to, if the call has one. */
  public Optional<String> id() {
    return Optional.ofNullable(id);
  }

  /** The name of the tool. */
  public String name() {
    return name;
  }

  /** The arguments by parameter name, unmodifiable, in the order given. */
  public Map<String, @Nullable Object> arguments() {
    return arguments;
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof ToolCall call
        && Objects.equals(id, call.id)
        && name.equals(call.name)
        && arguments.equals(call.arguments);
  }

  @Override
  public int hashCode() {
    return Objects.hash(id, name, arguments);
  }

  @Override
  public String toString() {
    return "ToolCall[" + name + "]";
  }
}

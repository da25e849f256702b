package ai.sluice.api;

import java.util.Objects;
import java.util.Optional;

/**
 * A piece of a tool call as it comes. The pieces of one call share its index; the first one alone
 * has the id and the name, and the arguments of all joined are the call's arguments as the model
 * wrote them.
 *
 * <p>Whether a call was whole is known at its end: what {@link GenerationResult#toolCalls} lists
 * was. A call that was cut off or malformed is given up; its text as the model wrote it then
 * follows as {@link ChunkKind#ANSWER}, and the result's detail says so.
 *
 * @param index which call of its alternative it is, from 0; calls that were given up count too
 * @param id the id for the tool's result; present in the first piece of a call alone
 * @param name the name of the tool; present in the first piece of a call alone
 * @param arguments more of the arguments' JSON text; often empty in the first piece
 */
public record ToolCallDelta(
    int index, Optional<String> id, Optional<String> name, String arguments) {
  /** Checks that nothing is null. */
  public ToolCallDelta {
    Objects.requireNonNull(id, "id");
    Objects.requireNonNull(name, "name");
    Objects.requireNonNull(arguments, "arguments");
  }
}

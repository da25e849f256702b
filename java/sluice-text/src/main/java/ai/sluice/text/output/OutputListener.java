package ai.sluice.text.output;

import ai.sluice.api.ChunkKind;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Takes what a parser told apart, in the order in which it was said. */
public interface OutputListener {
  /**
   * Takes text.
   *
   * @param kind ANSWER or REASONING
   * @param text not empty
   */
  void text(ChunkKind kind, String text);

  /**
   * A call begins; its arguments follow.
   *
   * @param call counts all calls that were begun, from 0
   * @param id as the model gave it, or null
   * @param name the tool's
   */
  void callBegun(int call, @Nullable String id, String name);

  /** Takes more of the JSON text of the arguments of the call that was begun last. */
  void callArguments(int call, String text);

  /** The call that was begun last is whole. */
  void callDone(int call, Map<String, @Nullable Object> arguments);
}

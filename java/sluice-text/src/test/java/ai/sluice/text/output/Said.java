package ai.sluice.text.output;

import ai.sluice.api.ChunkKind;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Writes down what a parser told apart. */
final class Said implements OutputListener {
  final StringBuilder answer = new StringBuilder();
  final StringBuilder reasoning = new StringBuilder();
  /** Each call as {@code [id=]name(arguments' text)}, with {@code !} behind it once it is whole. */
  final List<String> calls = new ArrayList<>();

  final List<Map<String, @Nullable Object>> arguments = new ArrayList<>();
  /** Everything in one line, pieces of one kind joined. */
  final StringBuilder order = new StringBuilder();

  String problems = "";
  private @Nullable ChunkKind last;

  static Said of(
      OutputFormat format, boolean inReasoning, Set<String> tools, List<String> pieces) {
    Said said = new Said();
    OutputParser parser = new OutputParser(format, inReasoning, tools, said);
    pieces.forEach(parser::accept);
    parser.finish();
    said.problems = parser.problems();
    return said;
  }

  @Override
  public void text(ChunkKind kind, String text) {
    (kind == ChunkKind.REASONING ? reasoning : answer).append(text);
    if (last != kind) {
      order.append(kind == ChunkKind.REASONING ? "|R:" : "|A:");
    }
    last = kind;
    order.append(text);
  }

  @Override
  public void callBegun(int call, @Nullable String id, String name) {
    if (call != calls.size()) {
      throw new AssertionError("call " + call + " after " + calls.size());
    }
    calls.add((id == null ? "" : id + "=") + name + "(");
    order.append("|C:").append(name).append(' ');
    last = ChunkKind.TOOL_CALL;
  }

  @Override
  public void callArguments(int call, String text) {
    if (call != calls.size() - 1) {
      throw new AssertionError("arguments of call " + call + " in " + calls);
    }
    calls.set(call, calls.get(call) + text);
    order.append(text);
    last = ChunkKind.TOOL_CALL;
  }

  @Override
  public void callDone(int call, Map<String, @Nullable Object> value) {
    calls.set(call, calls.get(call) + ")!");
    arguments.add(value);
    order.append('!');
  }

  @Override
  public String toString() {
    return order + "|P:" + problems + "|" + calls;
  }
}

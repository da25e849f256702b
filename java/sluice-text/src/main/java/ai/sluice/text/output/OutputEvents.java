package ai.sluice.text.output;

import ai.sluice.api.ChunkKind;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Between the stages of a parser, which work by the character, and its listener, which wants texts:
 * gathers what belongs together until {@link #flush}.
 */
final class OutputEvents {
  private final OutputListener listener;
  private final StringBuilder text = new StringBuilder();
  private final StringBuilder problems = new StringBuilder();
  private ChunkKind kind = ChunkKind.ANSWER;
  private int numCalls;
  private boolean inReasoning;
  private boolean inAnswer;
  private boolean over;

  OutputEvents(OutputListener listener) {
    this.listener = listener;
  }

  void text(ChunkKind of, char c) {
    turnTo(of);
    text.append(c);
  }

  void text(ChunkKind of, CharSequence more) {
    if (more.length() > 0) {
      turnTo(of);
      text.append(more);
    }
  }

  private void turnTo(ChunkKind of) {
    if (of != kind) {
      flush();
      kind = of;
    }
  }

  void begin(@Nullable String id, String name) {
    flush();
    listener.callBegun(numCalls++, id, name);
  }

  void argument(char c) {
    text(ChunkKind.TOOL_CALL, c);
  }

  void arguments(CharSequence more) {
    text(ChunkKind.TOOL_CALL, more);
  }

  void done(Map<String, @Nullable Object> arguments) {
    flush();
    listener.callDone(numCalls - 1, arguments);
  }

  /** What looked like a call is none; its text goes to the answer as it stands. */
  void giveUp(CharSequence raw, String why) {
    text(ChunkKind.ANSWER, raw);
    problems.append(problems.length() == 0 ? "" : "; ").append("tool call: ").append(why)
        .append(" (its text is in the answer)");
  }

  /** Hands out what was gathered. */
  void flush() {
    if (text.length() > 0) {
      String more = text.toString();
      text.setLength(0);
      if (kind == ChunkKind.TOOL_CALL) {
        listener.callArguments(numCalls - 1, more);
      } else {
        listener.text(kind, more);
      }
    }
  }

  /** What was wrong with calls, in words; empty if nothing was. */
  String problems() {
    return problems.toString();
  }

  void enterReasoning() {
    inReasoning = true;
  }

  void leaveReasoning() {
    inReasoning = false;
  }

  boolean isInReasoning() {
    return inReasoning;
  }

  /** From here on what is said is the answer, or calls. */
  void enterAnswer() {
    inAnswer = true;
  }

  void leaveAnswer() {
    inAnswer = false;
  }

  boolean isInAnswer() {
    return inAnswer;
  }

  /** The turn has ended, whether or not the model goes on. */
  void endTurn() {
    over = true;
  }

  boolean isOver() {
    return over;
  }
}

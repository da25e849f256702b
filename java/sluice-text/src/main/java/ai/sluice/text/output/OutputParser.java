package ai.sluice.text.output;

import ai.sluice.api.ReasoningFormat;
import ai.sluice.api.ToolCallFormat;
import java.util.Set;

/**
 * Tells apart what a model says: answer, reasoning, calls of tools. Takes the text piece by piece,
 * cut anywhere, and holds back only what may be the start of a marker or, for Llama's calls, which
 * have none, of a call.
 *
 * <p>Every character comes out in order, except markers, the line ends next to them, and the JSON
 * around a call's name and arguments. What looks like a call and is none comes out as text of the
 * answer, and {@link #problems} says so. Nothing that a model says makes it throw.
 *
 * <p>Not thread-safe.
 */
public final class OutputParser {
  private final OutputEvents events;
  private final Stage first;

  /**
   * Starts a turn.
   *
   * @param format how it is marked
   * @param startsInReasoning whether the prompt holds the marker before the reasoning already
   * @param toolNames names of the tools that may be called
   * @param listener takes what is told apart
   */
  public OutputParser(
      OutputFormat format,
      boolean startsInReasoning,
      Set<String> toolNames,
      OutputListener listener) {
    events = new OutputEvents(listener);
    first = stages(format, startsInReasoning, toolNames, events);
  }

  private static Stage stages(
      OutputFormat format, boolean startsInReasoning, Set<String> names, OutputEvents events) {
    if (format.reasoning() == ReasoningFormat.HARMONY
        || format.toolCalls() == ToolCallFormat.HARMONY) {
      return new HarmonyStage(
          format.reasoning() == ReasoningFormat.HARMONY,
          format.toolCalls() == ToolCallFormat.HARMONY,
          events);
    }
    Stage answer =
        switch (format.toolCalls()) {
          case HERMES -> new HermesStage(events);
          case MISTRAL -> new MistralStage(events);
          case LLAMA3 -> new LlamaStage(names, events);
          case DEEPSEEK -> new SectionStage(SectionStage.Family.DEEPSEEK, events);
          case KIMI -> new SectionStage(SectionStage.Family.KIMI, events);
          default -> new AnswerStage(events);
        };
    if (format.reasoningBegin().isEmpty()) {
      events.enterAnswer();
      return answer;
    }
    return new ThinkStage(
        format.reasoningBegin().get(),
        format.reasoningEnd().orElseThrow(),
        startsInReasoning,
        answer,
        events);
  }

  /** Takes more of what the model says. */
  public void accept(String text) {
    first.acceptAll(text);
    events.flush();
  }

  /** Ends the turn: hands out what was held back. Called once. */
  public void finish() {
    first.finish();
    events.flush();
  }

  /** Whether the model has marked the end of its turn; what follows would be another's. */
  public boolean isOver() {
    return events.isOver();
  }

  /** Whether what was taken so far ends within reasoning. */
  public boolean isInReasoning() {
    return events.isInReasoning();
  }

  /** Whether what comes next belongs to the answer, or to calls. */
  public boolean isInAnswer() {
    return events.isInAnswer();
  }

  /** What was wrong with calls, in words; empty if nothing was. */
  public String problems() {
    return events.problems();
  }
}

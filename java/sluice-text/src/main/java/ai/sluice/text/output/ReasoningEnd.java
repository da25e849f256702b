package ai.sluice.text.output;

import ai.sluice.api.ChatMessage;
import ai.sluice.api.ReasoningFormat;
import ai.sluice.api.SluiceException;
import ai.sluice.text.ChatTemplate;
import ai.sluice.text.SpecialTokens;
import java.util.List;
import java.util.Map;

/**
 * What ends reasoning that has gone on for too long.
 *
 * @param text the marker with the line ends around it
 * @param gap the line ends after it
 */
public record ReasoningEnd(String text, String gap) {
  private static final String REASONING = "sluice-reasoning";
  private static final String ANSWER = "sluice-answer";

  /**
   * What a model was trained to see there: what its template puts between the reasoning and the
   * text of an answer that has both, or else what is usual.
   *
   * @param format not OFF
   */
  public static ReasoningEnd of(
      OutputFormat format, ChatTemplate template, SpecialTokens specialTokens) {
    if (format.reasoningEnd().isEmpty()) {
      return new ReasoningEnd("<|end|><|start|>assistant<|channel|>final<|message|>", "");
    }
    String marker = format.reasoningEnd().get();
    String shown = shown(template, specialTokens);
    int at = shown.indexOf(marker);
    if (at >= 0 && shown.replace(marker, "").isBlank()) {
      return new ReasoningEnd(shown, shown.substring(at + marker.length()));
    }
    return format.reasoning() == ReasoningFormat.THINK
        ? new ReasoningEnd("\n" + marker + "\n\n", "\n\n")
        : new ReasoningEnd(marker, "");
  }

  /** What the template puts between reasoning and text; empty if it shows no reasoning. */
  private static String shown(ChatTemplate template, SpecialTokens specialTokens) {
    List<ChatMessage> probe =
        List.of(
            ChatMessage.user("x"),
            ChatMessage.builder("assistant").reasoning(REASONING).content(ANSWER).build());
    String text;
    try {
      text = template.render(probe, List.of(), Map.of(), false, specialTokens);
    } catch (SluiceException e) {
      return ""; // a template that wants other messages
    }
    int begin = text.indexOf(REASONING);
    int end = begin < 0 ? -1 : text.indexOf(ANSWER, begin);
    return end < 0 ? "" : text.substring(begin + REASONING.length(), end);
  }
}

package ai.sluice.eval;

import ai.sluice.api.ChatMessage;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.text.ChatTemplate;
import ai.sluice.text.PythonText;
import ai.sluice.text.SpecialTokens;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Prompts as a model's chat template renders them. Thread-safe. */
final class ChatPrompts {
  private final ChatTemplate template;
  private final SpecialTokens special;

  ChatPrompts(ChatTemplate template, SpecialTokens special) {
    this.template = template;
    this.special = special;
  }

  /** Of the template's source. */
  String sha256() {
    return FileHashes.ofText(template.source());
  }

  /**
   * The conversation, ready for the answer; where the answer's start is given, up to its end.
   *
   * @throws InvalidRequestException if the template refuses the conversation, or changes the start
   *     of the answer
   */
  String render(EvalPrompt prompt) {
    if (prompt.answerStart().isEmpty()) {
      return template.render(prompt.messages(), List.of(), Map.of(), true, special);
    }
    List<ChatMessage> messages = new ArrayList<>(prompt.messages());
    messages.add(ChatMessage.assistant(prompt.answerStart()));
    String text = template.render(messages, List.of(), Map.of(), false, special);
    String start = prompt.answerStart();
    String kept = PythonText.strip(start);
    int at = text.lastIndexOf(kept);
    if (at < 0) {
      throw new InvalidRequestException(
          "chat template: the start of the answer is not in what it renders (expected: a template"
              + " that keeps an assistant's words; remedy: without --apply-chat-template)");
    }
    // A template that trims messages has no white space there.
    return text.substring(0, text.startsWith(start, at) ? at + start.length() : at + kept.length());
  }
}

package ai.sluice.eval;

import ai.sluice.api.ChatMessage;
import ai.sluice.text.PythonText;
import java.util.ArrayList;
import java.util.List;

/**
 * What a model is asked, in parts, so that it can be one text or a conversation.
 *
 * @param description before everything, with its own white space at the end; may be empty
 * @param shots worked examples
 * @param question the question itself
 * @param answerStart how the answer begins, given to the model; empty: the model begins it
 */
public record EvalPrompt(
    String description, List<Shot> shots, String question, String answerStart) {
  /**
   * A worked example.
   *
   * @param question as the one that is asked
   * @param answer its answer, without the white space between both
   */
  public record Shot(String question, String answer) {}

  /** Copies the list. */
  public EvalPrompt {
    shots = List.copyOf(shots);
  }

  /** A question behind a description and examples. */
  public static EvalPrompt of(String description, List<Shot> shots, String question) {
    return new EvalPrompt(description, shots, question, "");
  }

  /** All before the question: what items of one subject share. */
  public String header() {
    StringBuilder out = new StringBuilder(description);
    for (Shot shot : shots) {
      out.append(shot.question()).append(' ').append(shot.answer()).append("\n\n");
    }
    return out.toString();
  }

  /** The plain text, byte for byte as lm-eval 0.4.13 makes it. */
  public String text() {
    String asked = header() + question;
    boolean joined =
        answerStart.isEmpty()
            || asked.isEmpty()
            || PythonText.isSpace(asked.charAt(asked.length() - 1))
            || PythonText.isSpace(answerStart.charAt(0));
    return asked + (joined ? "" : " ") + answerStart;
  }

  /**
   * The conversation: the description as system message, each example as a question and its answer,
   * then the question. The start of the answer, if any, is not among them: the template is rendered
   * ready for an answer, which then begins so.
   */
  public List<ChatMessage> messages() {
    List<ChatMessage> out = new ArrayList<>();
    if (!description.isEmpty()) {
      out.add(ChatMessage.system(description));
    }
    for (Shot shot : shots) {
      out.add(ChatMessage.user(shot.question()));
      out.add(ChatMessage.assistant(shot.answer()));
    }
    out.add(ChatMessage.user(question));
    return out;
  }
}

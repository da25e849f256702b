package ai.sluice.core;

import ai.sluice.api.ChatMessage;
import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.checkpoint.Checkpoint;
import ai.sluice.text.ChatTemplate;
import ai.sluice.text.Tokenizer;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Turns a request's input into token ids. Thread-safe.
 *
 * <p>Texts of special tokens become those tokens, in prompts and, as in Hugging Face's
 * transformers, also inside the content of chat messages: a user who writes the text that ends a
 * turn ends the turn. {@link GenerationRequest#literalContent} keeps them plain text.
 */
final class PromptEncoder {
  private final Checkpoint checkpoint;
  private final @Nullable Tokenizer tokenizer;
  private final int vocabSize;
  private volatile @Nullable ChatTemplate template;

  PromptEncoder(Checkpoint checkpoint, @Nullable Tokenizer tokenizer, int vocabSize) {
    this.checkpoint = checkpoint;
    this.tokenizer = tokenizer;
    this.vocabSize = vocabSize;
  }

  /**
   * The prompt's token ids.
   *
   * @throws CheckpointFormatException if the input is text and the checkpoint has no tokenizer, or
   *     messages and it has no chat template
   * @throws InvalidRequestException if the template refuses the messages, or a token is not in the
   *     vocabulary, or there is none
   */
  int[] encode(GenerationRequest request) {
    int[] tokens;
    if (request.promptTokens().isPresent()) {
      tokens = request.promptTokens().get();
    } else if (request.prompt().isPresent()) {
      tokens = requireTokenizer().encode(request.prompt().get(), true, true);
    } else {
      tokens = encodeMessages(request);
    }
    if (tokens.length == 0) {
      throw new InvalidRequestException(
          "prompt: no tokens (expected: at least one; the text holds nothing the tokenizer keeps)");
    }
    requireInVocabulary("promptTokens", tokens);
    return tokens;
  }

  private int[] encodeMessages(GenerationRequest request) {
    Tokenizer known = requireTokenizer();
    String text = render(request);
    if (!request.literalContent()) {
      return known.encode(text, false, true);
    }
    char mark = unusedIn(text);
    List<ChatMessage> broken = new ArrayList<>();
    for (ChatMessage message : request.messages()) {
      broken.add(
          message.content().isEmpty()
              ? message
              : message.toBuilder()
                  .content(known.breakSpecialTexts(message.content().get(), mark))
                  .build());
    }
    return broken.equals(request.messages())
        ? known.encode(text, false, true)
        : known.encodeParts(render(request.toBuilder().messages(broken).build()), mark);
  }

  /** One of Unicode's noncharacters, which are for use within a program. */
  private static char unusedIn(String text) {
    for (char mark = '\uFDD0'; mark <= '\uFDEF'; mark++) {
      if (text.indexOf(mark) < 0) {
        return mark;
      }
    }
    throw new InvalidRequestException(
        "literalContent: the messages hold every noncharacter from U+FDD0 to U+FDEF (expected: at"
            + " most 31 of them)");
  }

  /**
   * Checks token ids.
   *
   * @param name of the list that they are from
   * @throws InvalidRequestException if one is not in the vocabulary
   */
  void requireInVocabulary(String name, int[] tokens) {
    for (int i = 0; i < tokens.length; i++) {
      if (tokens[i] >= vocabSize) {
        throw new InvalidRequestException(
            name + "[" + i + "]: " + tokens[i] + " (expected: 0 to " + (vocabSize - 1)
                + ", the model's vocabulary)");
      }
    }
  }

  /** A conversation as text, ready for the assistant's answer. */
  String render(List<ChatMessage> messages) {
    return render(GenerationRequest.builder().messages(messages).build());
  }

  private String render(GenerationRequest request) {
    return requireTemplate()
        .render(
            request.messages(),
            request.tools(),
            request.templateVariables(),
            true,
            requireTokenizer().specialTokens());
  }

  /** The chat template, or an exception that says that there is none. Parsed at the first call. */
  ChatTemplate requireTemplate() {
    ChatTemplate known = template;
    if (known == null) {
      known =
          ChatTemplate.fromTemplates(checkpoint.chatTemplates(), checkpoint.path())
              .orElseThrow(
                  () ->
                      new CheckpointFormatException(
                          checkpoint.path(),
                          "chat_template",
                          "missing (expected: a Jinja template, for chat messages; plain prompts"
                              + " work)"));
      template = known;
    }
    return known;
  }

  /** The tokenizer, or an exception that names the missing file. */
  Tokenizer requireTokenizer() {
    if (tokenizer == null) {
      checkpoint.requireTokenizer();
      throw new IllegalStateException("tokenizer: not loaded (a defect of Sluice)");
    }
    return tokenizer;
  }
}

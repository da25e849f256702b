package ai.sluice.core;

import ai.sluice.api.GenerationRequest;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.checkpoint.Checkpoint;
import ai.sluice.text.Tokenizer;
import org.jspecify.annotations.Nullable;

/** Turns a request's input into token ids. Thread-safe. */
final class PromptEncoder {
  private final Checkpoint checkpoint;
  private final @Nullable Tokenizer tokenizer;
  private final int vocabSize;

  PromptEncoder(Checkpoint checkpoint, @Nullable Tokenizer tokenizer, int vocabSize) {
    this.checkpoint = checkpoint;
    this.tokenizer = tokenizer;
    this.vocabSize = vocabSize;
  }

  /**
   * The prompt's token ids.
   *
   * @throws ai.sluice.api.CheckpointFormatException if the input is text and the checkpoint has no
   *     tokenizer
   * @throws InvalidRequestException if a token is not in the vocabulary, or there is none
   */
  int[] encode(GenerationRequest request) {
    int[] tokens =
        request.promptTokens().isPresent()
            ? request.promptTokens().get()
            : requireTokenizer().encode(request.prompt().orElseThrow(), true, true);
    if (tokens.length == 0) {
      throw new InvalidRequestException(
          "prompt: no tokens (expected: at least one; the text holds nothing the tokenizer keeps)");
    }
    for (int i = 0; i < tokens.length; i++) {
      if (tokens[i] >= vocabSize) {
        throw new InvalidRequestException(
            "promptTokens[" + i + "]: " + tokens[i] + " (expected: 0 to " + (vocabSize - 1)
                + ", the model's vocabulary)");
      }
    }
    return tokens;
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

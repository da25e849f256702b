package ai.sluice.text;

import java.util.BitSet;

/**
 * Turns the token ids of one document into text as they come. Text is handed out as soon as it is
 * certain: a character whose bytes are spread over several tokens is held back until it is whole,
 * and {@link #finish} gives what is left (an unfinished character as U+FFFD). The parts joined
 * equal {@link Tokenizer#decode} of all the ids. Each call costs time in the length of its token
 * alone.
 *
 * <p>Not thread-safe: one document, one thread at a time. Holds no native memory and stays usable
 * after its tokenizer was closed.
 */
public final class StreamingDecoder {
  private final Vocabulary vocabulary;
  private final TokenDecoder decoder;
  private final boolean skipSpecialTokens;
  private final BitSet kept;
  private final Utf8Decoder text = new Utf8Decoder();
  private boolean first;
  private int spacesToDrop;
  private boolean finished;

  StreamingDecoder(
      Vocabulary vocabulary,
      TokenDecoder decoder,
      boolean skipSpecialTokens,
      BitSet kept,
      boolean continues) {
    this.kept = kept;
    this.vocabulary = vocabulary;
    this.decoder = decoder;
    this.skipSpecialTokens = skipSpecialTokens;
    this.first = !continues;
    this.spacesToDrop = continues ? 0 : decoder.leadingSpacesDropped();
  }

  /**
   * Takes the next token.
   *
   * @param tokenId its id; one that the vocabulary does not know (models pad their embeddings) has
   *     no text
   * @return the text that is now certain, often empty, never ending within a character
   * @throws IllegalStateException after {@link #finish}
   */
  public String accept(int tokenId) {
    feed(tokenId);
    return strip(text.take());
  }

  /**
   * Ends the document.
   *
   * @return the text held back, empty unless the last character is unfinished
   * @throws IllegalStateException if called twice
   */
  public String finish() {
    if (finished) {
      throw new IllegalStateException("streaming decoder: finished (expected: in progress)");
    }
    finished = true;
    return strip(text.finish());
  }

  /** Whether bytes of an unfinished character are being held back. */
  public boolean isPending() {
    return text.isPending();
  }

  void feed(int tokenId) {
    if (finished) {
      throw new IllegalStateException("streaming decoder: finished (expected: in progress)");
    }
    String token = vocabulary.token(tokenId);
    if (token == null) {
      return;
    }
    if (skipSpecialTokens && vocabulary.isSpecial(tokenId)) {
      if (kept.get(tokenId)) {
        text.text(token); // its text is what it is called, whatever the vocabulary's signs mean
      }
      return;
    }
    decoder.feed(token, first, text);
    first = false;
  }

  private String strip(String part) {
    int start = 0;
    while (spacesToDrop > 0 && start < part.length()) {
      if (part.charAt(start) == ' ') {
        start++;
        spacesToDrop--;
      } else {
        spacesToDrop = 0;
      }
    }
    return start == 0 ? part : part.substring(start);
  }
}

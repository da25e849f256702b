package ai.sluice.text.grammar;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ResponseFormat;
import ai.sluice.text.TokenConstraint;

/**
 * A response format compiled for one vocabulary. Made once and shared by any number of generations
 * and threads: what one of them computes, all of them use. Thread-safe; owns no native memory.
 */
public final class CompiledGrammar {
  private CompiledGrammar() {}

  /**
   * Compiles a response format. Takes up to {@link GrammarLimits#maxCompileTime}, so not for a
   * thread that others wait for.
   *
   * @param format a JSON object, a JSON schema or a regular expression
   * @param tokens the vocabulary
   * @param limits what it may cost
   * @throws InvalidRequestException if the format is {@link ResponseFormat.Text}, uses what is not
   *     supported (named, with the remedy), contradicts itself, is beyond a limit, or needs a byte
   *     that the vocabulary cannot spell
   * @throws java.util.concurrent.CancellationException if the thread is interrupted, which it stays
   */
  public static CompiledGrammar compile(
      ResponseFormat format, TokenTable tokens, GrammarLimits limits) {
    throw new InvalidRequestException(
        "responseFormat: " + format.getClass().getSimpleName()
            + " (expected: Text, as grammars are not built)");
  }

  /** Compiles a response format within {@link GrammarLimits#DEFAULT}. */
  public static CompiledGrammar compile(ResponseFormat format, TokenTable tokens) {
    return compile(format, tokens, GrammarLimits.DEFAULT);
  }

  /**
   * Begins one generation.
   *
   * @param stopTokens tokens that end it; allowed exactly where the text is complete. May be empty:
   *     then {@link TokenConstraint#isOver} tells the end where nothing can follow
   * @throws InvalidRequestException if one is no token of the vocabulary, or is the only spelling
   *     of a byte that the grammar needs
   */
  public TokenConstraint start(int... stopTokens) {
    throw new IllegalStateException("grammar: not compiled");
  }

  /** At most how many bytes of heap this grammar holds, also after use. */
  public long maxBytes() {
    return 0;
  }
}

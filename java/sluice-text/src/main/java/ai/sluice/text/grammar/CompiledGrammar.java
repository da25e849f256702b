package ai.sluice.text.grammar;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ResponseFormat;
import ai.sluice.text.TokenConstraint;
import java.util.Arrays;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A response format compiled for one vocabulary. Made once and shared by any number of generations
 * and threads: what one of them computes, all of them use. Thread-safe; owns no native memory.
 */
public final class CompiledGrammar {
  /** Places whose tokens are found while compiling, not while others wait; a millisecond each. */
  private static final int PREPARED_PLACES = 64;

  private final TokenTable tokens;
  private final Automaton automaton;
  private final Pushdown pushdown;
  private final TokenMasks masks;

  private CompiledGrammar(Automaton automaton, TokenTable tokens, GrammarLimits limits) {
    this.tokens = tokens;
    this.automaton = automaton;
    pushdown = new Pushdown(automaton, limits.maxCacheBytes() / 2);
    masks = new TokenMasks(pushdown, tokens, limits.maxCacheBytes() / 2);
  }

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
    CompileBudget budget = new CompileBudget(limits);
    Rules rules = new Rules();
    if (format instanceof ResponseFormat.JsonSchema json) {
      // Checked again: the record can be made without its factory.
      Map<String, @Nullable Object> schema = checked(json).schema();
      new SchemaReader(rules, schema, limits).read("responseFormat.schema");
    } else if (format instanceof ResponseFormat.JsonObject) {
      new SchemaReader(rules, Map.of(), limits).readAnyObject("responseFormat");
    } else if (format instanceof ResponseFormat.Regex regex) {
      String where = "responseFormat.regex";
      ResponseFormat.regex(regex.pattern());
      rules.add(where, RegexParser.whole(where, regex.pattern()));
    } else {
      throw new InvalidRequestException(
          "responseFormat: text (expected: jsonObject, jsonSchema or regex; any text needs no"
              + " grammar)");
    }
    Automaton automaton = Automaton.of(rules, tokens, budget);
    CompiledGrammar grammar = new CompiledGrammar(automaton, tokens, limits);
    grammar.masks.prepare(PREPARED_PLACES, budget);
    return grammar;
  }

  private static ResponseFormat.JsonSchema checked(ResponseFormat.JsonSchema format) {
    return (ResponseFormat.JsonSchema) ResponseFormat.jsonSchema(format.schema());
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
   *     of a byte that the grammar may need
   */
  public TokenConstraint start(int... stopTokens) {
    int[] stops = Arrays.stream(stopTokens).sorted().distinct().toArray();
    for (int token : stops) {
      if (token < 0 || token >= tokens.vocabSize()) {
        throw new InvalidRequestException(
            "stopTokens: "
                + token
                + " (expected: 0 to "
                + (tokens.vocabSize() - 1)
                + ", the model's vocabulary)");
      }
      if (tokens.length(token) == 1 && isOnlySpelling(tokens.byteAt(token, 0), stops)) {
        throw new InvalidRequestException(
            String.format(
                "stopTokens: %d is the only token for byte 0x%02X, which the response format uses"
                    + " (expected: stop tokens without text, such as the end of a turn)",
                token, tokens.byteAt(token, 0)));
      }
    }
    return new GrammarConstraint(pushdown, masks, tokens, stops);
  }

  private boolean isOnlySpelling(int value, int[] stops) {
    return automaton.usesByte(value) && !tokens.isSpellableWithout(value, stops);
  }

  Pushdown pushdown() {
    return pushdown;
  }

  /** How many bytes of heap this grammar holds now, about; it grows with use. */
  public long bytes() {
    return automaton.bytes() + pushdown.bytes() + masks.bytes();
  }

  /** At most how many bytes of heap this grammar holds, also after use; guessed high. */
  public long maxBytes() {
    return automaton.bytes() + pushdown.maxBytes() + masks.maxBytes();
  }
}

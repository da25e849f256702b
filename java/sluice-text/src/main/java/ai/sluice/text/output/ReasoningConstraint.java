package ai.sluice.text.output;

import ai.sluice.api.ChunkKind;
import ai.sluice.text.StreamingDecoder;
import ai.sluice.text.TokenConstraint;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Lets a model reason freely, but not for longer than its budget: then the tokens that end the
 * reasoning are the only ones allowed, one after the other. A grammar, if there is one, begins with
 * the answer.
 *
 * <p>Reasoning is recognized by text, as the answer is parsed, so it does not matter which tokens
 * the markers are made of. Where a grammar follows, the markers have to be one token each, because
 * a token that holds more than the marker would say the answer's beginning without the grammar.
 */
public final class ReasoningConstraint implements TokenConstraint {
  /** No end of the budget. */
  public static final int UNLIMITED = Integer.MAX_VALUE;

  /** Stands for a marker that is not one token. */
  public static final int NO_TOKEN = -1;

  /**
   * The tokens that reasoning is about.
   *
   * @param begin the marker before it, or {@link #NO_TOKEN}
   * @param end those that end it: the marker and what templates put around it
   * @param gap those that templates put between the marker after it and the answer
   * @param stops those that end the generation, sorted
   * @param vocabSize ids of the model
   */
  public record Tokens(int begin, int[] end, int[] gap, int[] stops, int vocabSize) {}

  private final OutputParser parser;
  private final StreamingDecoder decoder;
  private final Tokens tokens;
  private final boolean hasChannels;
  private final int budget;
  private final @Nullable TokenConstraint grammar;
  private int used;
  private int[] forced = {};
  private int forcedAt;
  private boolean grammarBegun;

  /**
   * Starts a generation.
   *
   * @param format how reasoning is marked, not OFF
   * @param startsInReasoning whether the prompt holds the marker before it already
   * @param decoder its own, with the format's markers as text
   * @param tokens not copied
   * @param budget tokens of reasoning, 0 or more
   * @param grammar of the answer, or null
   */
  public ReasoningConstraint(
      OutputFormat format,
      boolean startsInReasoning,
      StreamingDecoder decoder,
      Tokens tokens,
      int budget,
      @Nullable TokenConstraint grammar) {
    this.decoder = decoder;
    this.tokens = tokens;
    this.budget = budget;
    this.grammar = grammar;
    hasChannels = format.reasoningBegin().isEmpty();
    parser =
        new OutputParser(format.withoutTools(), startsInReasoning, Set.of(), new Unheard());
    forceAtEnd();
  }

  @Override
  public boolean limitsWithin(int numTokens) {
    if (isForcing()) {
      return true;
    }
    TokenConstraint then = grammar;
    if (answers()) {
      return then != null && then.limitsWithin(numTokens);
    }
    if (parser.isInReasoning()) {
      return then != null || numTokens > budget - used;
    }
    // The next token may begin the reasoning, and with a grammar also the answer.
    return then != null && (!hasChannels || numTokens > 1) || numTokens - 1L > budget - used;
  }

  /** Whether nothing but the answer, or its grammar, is to come. */
  private boolean answers() {
    return grammarBegun || parser.isInAnswer() && (grammar != null || !hasChannels);
  }

  @Override
  public void allow(ByteBuffer words, int offset) {
    int numBytes = (tokens.vocabSize() + 31) / 32 * Integer.BYTES;
    if (isForcing()) {
      fill(words, offset, numBytes, (byte) 0);
      set(words, offset, forced[forcedAt], true);
    } else if (grammar != null && !parser.isInReasoning()) {
      grammar.allow(words, offset);
      if (!answers() && tokens.begin() != NO_TOKEN) {
        set(words, offset, tokens.begin(), true);
      }
    } else {
      allowAllButStops(words, offset, numBytes);
    }
  }

  /** An answer that is to keep to a grammar must not be left out. */
  private void allowAllButStops(ByteBuffer words, int offset, int numBytes) {
    fill(words, offset, numBytes, (byte) -1);
    for (int token = tokens.vocabSize(); token < numBytes * Byte.SIZE; token++) {
      set(words, offset, token, false);
    }
    for (int stop : tokens.stops()) {
      set(words, offset, stop, false);
    }
  }

  private static void fill(ByteBuffer words, int offset, int numBytes, byte value) {
    for (int i = 0; i < numBytes; i++) {
      words.put(offset + i, value);
    }
  }

  private static void set(ByteBuffer words, int offset, int token, boolean allowed) {
    int at = offset + (token >> 3);
    int bit = 1 << (token & 7);
    words.put(at, (byte) (allowed ? words.get(at) | bit : words.get(at) & ~bit));
  }

  @Override
  public void accept(int token) {
    TokenConstraint then = grammar;
    if (isForcing()) {
      forcedAt++;
      parser.accept(decoder.accept(token));
      return;
    }
    if (then != null && (answers() || !hasChannels && begins(token))) {
      grammarBegun = true;
      then.accept(token);
      return;
    }
    boolean reasoned = parser.isInReasoning();
    parser.accept(decoder.accept(token));
    if (parser.isInReasoning()) {
      used += reasoned ? 1 : 0;
    } else if (reasoned && then != null && !hasChannels) {
      force(tokens.gap());
    }
    forceAtEnd();
  }

  /** Whether a first token begins the answer, since it does not begin reasoning. */
  private boolean begins(int token) {
    return !parser.isInReasoning() && token != tokens.begin();
  }

  private void forceAtEnd() {
    if (parser.isInReasoning() && used >= budget) {
      force(tokens.end());
    }
  }

  private void force(int[] next) {
    forced = next;
    forcedAt = 0;
  }

  private boolean isForcing() {
    return forcedAt < forced.length;
  }

  @Override
  public boolean isOver() {
    return grammar != null && answers() && !isForcing() && grammar.isOver();
  }

  @Override
  public String toString() {
    return "ReasoningConstraint[" + used + " of " + budget + ", " + grammar + "]";
  }

  /** Only where the parser is matters here. */
  private static final class Unheard implements OutputListener {
    @Override
    public void text(ChunkKind kind, String text) {}

    @Override
    public void callBegun(int call, @Nullable String id, String name) {}

    @Override
    public void callArguments(int call, String text) {}

    @Override
    public void callDone(int call, Map<String, @Nullable Object> arguments) {}
  }
}

package ai.sluice.text.grammar;

import ai.sluice.text.TokenConstraint;
import ai.sluice.text.grammar.Pushdown.State;
import java.nio.ByteBuffer;
import java.util.Arrays;

/** One generation under a grammar. Allocates nothing where the grammar knows the state already. */
final class GrammarConstraint implements TokenConstraint {
  private final Pushdown pushdown;
  private final TokenMasks masks;
  private final TokenTable tokens;
  private final int[] stopTokens;
  private State state;
  private boolean stopped;

  GrammarConstraint(Pushdown pushdown, TokenMasks masks, TokenTable tokens, int[] stopTokens) {
    this.pushdown = pushdown;
    this.masks = masks;
    this.tokens = tokens;
    this.stopTokens = stopTokens;
    this.state = pushdown.start();
  }

  @Override
  public boolean limitsWithin(int numTokens) {
    return true;
  }

  @Override
  public void allow(ByteBuffer words, int offset) {
    if (isOver()) {
      throw new IllegalStateException("grammar: over (expected: a text in progress)");
    }
    masks.write(state, words, offset);
    for (int token : stopTokens) {
      int at = offset + (token >> 3);
      int bit = 1 << (token & 7);
      words.put(at, (byte) (state.complete ? words.get(at) | bit : words.get(at) & ~bit));
    }
  }

  @Override
  public void accept(int token) {
    if (stopped) {
      throw new IllegalStateException(
          "token " + token + ": after a stop token (expected: none)");
    }
    if (Arrays.binarySearch(stopTokens, token) >= 0) {
      if (!state.complete) {
        throw notAllowed(token);
      }
      stopped = true;
      return;
    }
    if (token < 0 || token >= tokens.vocabSize()) {
      throw notAllowed(token);
    }
    int length = tokens.length(token);
    State next = length == 0 ? null : state;
    for (int i = 0; i < length && next != null; i++) {
      next = pushdown.step(next, tokens.byteAt(token, i));
    }
    if (next == null) {
      throw notAllowed(token);
    }
    state = next;
  }

  private static IllegalStateException notAllowed(int token) {
    return new IllegalStateException(
        "token " + token + ": not allowed here (expected: one that the mask allows)");
  }

  @Override
  public boolean isOver() {
    return stopped || stopTokens.length == 0 && state.complete && state.isEnd();
  }
}

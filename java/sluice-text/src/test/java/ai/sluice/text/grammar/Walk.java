package ai.sluice.text.grammar;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.text.TokenConstraint;
import ai.sluice.text.grammar.Pushdown.Frame;
import ai.sluice.text.grammar.Pushdown.State;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Random;
import org.jspecify.annotations.Nullable;

/**
 * A generation by chance under a grammar: any allowed token for a while, then those that lead to an
 * end soonest.
 */
final class Walk {
  private static final int FAR = 1 << 28;

  private final CompiledGrammar grammar;
  private final TokenTable tokens;
  private final int stop;
  private final int[] toEnd;
  private final ByteBuffer mask;

  Walk(CompiledGrammar grammar, Vocabularies vocabulary) {
    this.grammar = grammar;
    this.tokens = vocabulary.table();
    this.stop = vocabulary.stop();
    this.toEnd = bytesToEnd(grammar.pushdown().automaton());
    int words = (tokens.vocabSize() + 31) / 32;
    mask = ByteBuffer.allocateDirect(4 * words + 8).order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Fewest bytes from each place to an end of its rule. */
  private static int[] bytesToEnd(Automaton automaton) {
    int[] least = new int[automaton.states()];
    Arrays.fill(least, FAR);
    boolean changed = true;
    while (changed) {
      changed = false;
      for (int place = automaton.states() - 1; place >= 0; place--) {
        int best = automaton.isAccepting(place) ? 0 : least[place];
        for (int c = 0; c < automaton.classes.count(); c++) {
          int next = automaton.next(place, c);
          best = next < 0 ? best : Math.min(best, 1 + least[next]);
        }
        int[] pairs = automaton.calls(place);
        for (int i = 0; i < pairs.length; i += 2) {
          best = Math.min(best, least[automaton.start(pairs[i])] + least[pairs[i + 1]]);
        }
        if (best < least[place]) {
          least[place] = best;
          changed = true;
        }
      }
    }
    return least;
  }

  private long toEnd(State state) {
    if (state.complete) {
      return 0;
    }
    long best = FAR;
    for (int i = 0; i < state.own; i++) {
      best = Math.min(best, toEnd[state.places[i]] + toEnd(state.frames[i]));
    }
    return best;
  }

  private long toEnd(@Nullable Frame frame) {
    if (frame == null) {
      return 0;
    }
    long best = FAR;
    for (int i = 0; i < frame.returns.length; i++) {
      best = Math.min(best, toEnd[frame.returns[i]] + toEnd(frame.parents[i]));
    }
    return best;
  }

  /**
   * Generates one text.
   *
   * @param freely tokens chosen by chance before it heads for the end
   * @param exact whether to compare each mask with a trial of every token
   */
  String run(Random random, int freely, boolean exact) {
    TokenConstraint constraint = grammar.start(stop);
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    State state = grammar.pushdown().start();
    for (int step = 0; ; step++) {
      assertTrue(step < freely + 3_000_000, "no end");
      assertTrue(constraint.limitsWithin(1));
      allow(constraint, random);
      if (exact) {
        compare(state);
      }
      boolean done = isAllowed(stop);
      assertEquals(state.complete, done, "stop token");
      int token = step < freely ? any(random) : state.complete ? stop : nearest(state, random);
      assertTrue(isAllowed(token), () -> "token " + token + " after " + out);
      constraint.accept(token);
      if (token == stop) {
        assertTrue(constraint.isOver());
        return text(out);
      }
      for (int i = 0; i < tokens.length(token); i++) {
        out.write(tokens.byteAt(token, i));
        state = grammar.pushdown().step(state, tokens.byteAt(token, i));
      }
    }
  }

  /** Whether a text is allowed and complete, cut into tokens by chance. */
  boolean takes(String text, Random random) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    int[] cut = new int[bytes.length];
    int size = 0;
    for (int at = 0; at < bytes.length; ) {
      int token = tokenAt(bytes, at, random);
      cut[size++] = token;
      at += tokens.length(token);
    }
    return takes(Arrays.copyOf(cut, size));
  }

  /** Whether tokens are allowed and complete. */
  boolean takes(int[] ids) {
    TokenConstraint constraint = grammar.start(stop);
    for (int token : ids) {
      allow(constraint, new Random(0));
      if (!isAllowed(token)) {
        return false;
      }
      constraint.accept(token);
    }
    allow(constraint, new Random(0));
    return isAllowed(stop);
  }

  /** A token that begins here, by chance among those that do. */
  private int tokenAt(byte[] bytes, int at, Random random) {
    int found = -1;
    int seen = 0;
    int end = tokens.nodes();
    int node = 0;
    for (int i = at; i < bytes.length && node < end; i++) {
      while (node < end && tokens.nodeByte[node] != bytes[i]) {
        node = tokens.nodeEnd[node];
      }
      if (node >= end) {
        break;
      }
      for (int k = tokens.nodeTokenOffset[node]; k < tokens.nodeTokenOffset[node + 1]; k++) {
        if (random.nextInt(++seen) == 0) {
          found = tokens.nodeTokens[k];
        }
      }
      end = tokens.nodeEnd[node];
      node++;
    }
    return found;
  }

  private static String text(ByteArrayOutputStream out) {
    try {
      ByteBuffer bytes = ByteBuffer.wrap(out.toByteArray());
      return StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
    } catch (CharacterCodingException e) {
      throw new AssertionError("not UTF-8: " + out, e);
    }
  }

  /** Fills the mask; all its words must be written, none beside them. */
  void allow(TokenConstraint constraint, Random random) {
    byte fill = (byte) random.nextInt(256);
    for (int i = 0; i < mask.capacity(); i++) {
      mask.put(i, fill);
    }
    constraint.allow(mask, 4);
    for (int i = 0; i < 4; i++) {
      assertEquals(fill, mask.get(i));
      assertEquals(fill, mask.get(mask.capacity() - 1 - i));
    }
    for (int token = tokens.vocabSize(); token % 32 != 0; token++) {
      assertTrue(!isAllowed(token), "a bit beyond the vocabulary");
    }
  }

  boolean isAllowed(int token) {
    return (mask.getInt(4 + token / 32 * 4) >> token % 32 & 1) != 0;
  }

  private void compare(State state) {
    for (int token = 0; token < tokens.vocabSize(); token++) {
      boolean fits = tokens.length(token) > 0 && after(state, token) != null;
      if (token != stop) {
        int id = token;
        assertEquals(fits, isAllowed(token), () -> "token " + id);
      }
    }
  }

  private @Nullable State after(State state, int token) {
    State next = state;
    for (int i = 0; i < tokens.length(token) && next != null; i++) {
      next = grammar.pushdown().step(next, tokens.byteAt(token, i));
    }
    return next;
  }

  private int any(Random random) {
    int from = random.nextInt(tokens.vocabSize());
    for (int i = 0; i < tokens.vocabSize(); i++) {
      int token = (from + i) % tokens.vocabSize();
      if (isAllowed(token)) {
        return token;
      }
    }
    throw new AssertionError("no token is allowed");
  }

  /** Among single bytes, and a token by chance, the one that leaves the shortest way. */
  private int nearest(State state, Random random) {
    int best = -1;
    long shortest = FAR;
    int other = any(random);
    for (int token = 0; token < tokens.vocabSize(); token++) {
      if ((tokens.length(token) == 1 || token == other) && isAllowed(token)) {
        long way = toEnd(after(state, token));
        if (way < shortest) {
          shortest = way;
          best = token;
        }
      }
    }
    assertTrue(shortest < toEnd(state), "no way to the end");
    return best;
  }
}

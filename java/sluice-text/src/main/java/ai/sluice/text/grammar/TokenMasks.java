package ai.sluice.text.grammar;

import ai.sluice.text.grammar.Pushdown.Frame;
import ai.sluice.text.grammar.Pushdown.State;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The tokens that may follow a state, as bits. Most of them stay within one rule: they are found
 * once for a place, whoever called its rule, by a walk over all tokens. The few that go on after
 * the end of the rule are then tried against the callers. Both are kept, those
 * used last, and equal ones once.
 *
 * <p>Thread-safe: a mask that is known is read without a lock.
 */
final class TokenMasks {
  /**
   * Places computed for one mask, each some 50 ns. Beyond that, which takes thousands of alternatives
   * that overlap, only tokens of one byte are tried: what they spell goes on as before.
   */
  private static final long MAX_WORK = 400_000;

  /** What a place alone decides. */
  private static final class Inside {
    final TokenSet tokens;

    /** Nodes of the trie after which the rule may have ended and the token goes on. */
    final int[] ends;

    boolean used;

    Inside(TokenSet tokens, int[] ends) {
      this.tokens = tokens;
      this.ends = ends;
    }

    long bytes() {
      return 64 + 4L * ends.length;
    }
  }

  private final Pushdown pushdown;
  private final TokenTable tokens;
  private final @Nullable Inside[] inside;
  private final ArrayDeque<Integer> keptInside = new ArrayDeque<>();
  private final ArrayDeque<State> keptMasks = new ArrayDeque<>();
  private final Map<TokenSet, TokenSet> sets = new HashMap<>();
  private final long maxBytes;
  private final byte[] zeros;

  // Under the lock.
  private long bytes;
  private final long[] bits;
  private final State[] path;
  private int[] ends = new int[64];
  private int numEnds;
  private long workLimit;
  private final long maxWork;

  /**
   * Keeps masks for a grammar.
   *
   * @param maxBytes for all masks together
   */
  TokenMasks(Pushdown pushdown, TokenTable tokens, long maxBytes) {
    this(pushdown, tokens, maxBytes, MAX_WORK);
  }

  TokenMasks(Pushdown pushdown, TokenTable tokens, long maxBytes, long maxWork) {
    this.maxWork = maxWork;
    this.pushdown = pushdown;
    this.tokens = tokens;
    int classes = 0;
    for (int state = 0; state < pushdown.automaton().states(); state++) {
      classes = Math.max(classes, pushdown.automaton().maskClass(state) + 1);
    }
    inside = new Inside[classes];
    bits = new long[(tokens.vocabSize() + 63) / 64];
    zeros = new byte[(tokens.vocabSize() + 31) / 32 * 4];
    // Room for the few that one step needs, however large the vocabulary is.
    this.maxBytes = Math.max(maxBytes, 8L * zeros.length);
    path = new State[tokens.maxTokenBytes() + 1];
  }

  long maxBytes() {
    return maxBytes + 4L * inside.length + 12L * bits.length;
  }

  /** Heap taken now. */
  long bytes() {
    synchronized (pushdown) {
      return bytes + 4L * inside.length + 12L * bits.length;
    }
  }

  /** Writes the tokens that may follow. */
  void write(State state, ByteBuffer out, int offset) {
    TokenSet mask = state.mask;
    if (mask == null) {
      mask = compute(state);
    }
    state.maskUsed = true;
    mask.write(out, offset, zeros);
  }

  private TokenSet compute(State state) {
    synchronized (pushdown) {
      TokenSet known = state.mask;
      if (known != null) {
        return known;
      }
      workLimit = pushdown.work() + maxWork;
      Inside[] here = new Inside[state.own];
      for (int i = 0; i < state.own; i++) {
        here[i] = inside(state.places[i]);
      }
      Arrays.fill(bits, 0);
      for (int i = 0; i < state.own; i++) {
        here[i].tokens.addTo(bits);
        Frame frame = state.frames[i];
        if (frame != null && here[i].ends.length > 0) {
          State after = pushdown.after(frame);
          if (!after.isEnd()) {
            for (int end : here[i].ends) {
              walk(after, end + 1, tokens.nodeEnd[end], tokens.nodeDepth[end], false);
            }
          }
        }
      }
      TokenSet mask = keep(TokenSet.of(bits));
      state.mask = mask;
      keptMasks.add(state);
      bytes += state.bytes();
      trim();
      return mask;
    }
  }

  /** One of all equal sets, counted. */
  private TokenSet keep(TokenSet set) {
    TokenSet kept = sets.putIfAbsent(set, set);
    if (kept == null) {
      kept = set;
      bytes += set.bytes();
    }
    kept.users++;
    return kept;
  }

  private void drop(TokenSet set) {
    if (--set.users == 0) {
      sets.remove(set);
      bytes -= set.bytes();
    }
  }

  /** Lets go of what was not used since it was last looked at; the newest ones stay. */
  private void trim() {
    while (bytes > maxBytes && keptMasks.size() > 1) {
      State oldest = keptMasks.remove();
      TokenSet mask = oldest.mask;
      if (mask != null && oldest.maskUsed) {
        oldest.maskUsed = false;
        keptMasks.add(oldest);
      } else if (mask != null) {
        oldest.mask = null;
        bytes -= oldest.bytes();
        drop(mask);
      }
      if (bytes > maxBytes && keptInside.size() > 1) {
        trimInside();
      }
    }
  }

  private void trimInside() {
    int oldest = keptInside.remove();
    Inside candidate = inside[oldest];
    if (candidate == null) {
      return;
    }
    if (candidate.used) {
      candidate.used = false;
      keptInside.add(oldest);
    } else {
      inside[oldest] = null;
      bytes -= candidate.bytes();
      drop(candidate.tokens);
    }
  }

  /** Finds ahead of use what takes longest: the places where many texts may follow. */
  void prepare(int maxPlaces, CompileBudget budget) {
    Automaton automaton = pushdown.automaton();
    boolean[] seen = new boolean[inside.length];
    int prepared = 0;
    for (int place = 0; place < automaton.states(); place++) {
      int maskClass = automaton.maskClass(place);
      if (seen[maskClass]) {
        continue;
      }
      seen[maskClass] = true;
      int following = 0;
      for (int b = 0; b < 256; b++) {
        following += automaton.next(place, automaton.classes.of[b]) >= 0 ? 1 : 0;
      }
      if (following > 32) {
        if (++prepared > maxPlaces || !budget.isAmple()) {
          return;
        }
        synchronized (pushdown) {
          workLimit = pushdown.work() + maxWork;
          inside(place);
        }
      }
    }
  }

  private Inside inside(int place) {
    int maskClass = pushdown.automaton().maskClass(place);
    Inside known = inside[maskClass];
    if (known == null) {
      Arrays.fill(bits, 0);
      numEnds = 0;
      walk(pushdown.alone(place), 0, tokens.nodes(), 0, true);
      known = new Inside(keep(TokenSet.of(bits)), Arrays.copyOf(ends, numEnds));
      bytes += known.bytes();
      inside[maskClass] = known;
      keptInside.add(maskClass);
    }
    known.used = true;
    return known;
  }

  /**
   * Tries a part of the trie and sets the bits of the tokens that fit.
   *
   * @param depth bytes of the tokens that {@code from} has read already
   */
  private void walk(State from, int firstNode, int endNode, int depth, boolean keepEnds) {
    byte[] nodeByte = tokens.nodeByte;
    int[] nodeEnd = tokens.nodeEnd;
    int[] offset = tokens.nodeTokenOffset;
    path[depth] = from;
    int node = firstNode;
    while (node < endNode) {
      int nodeDepth = tokens.nodeDepth[node];
      if (nodeDepth > 1 && pushdown.work() > workLimit) {
        node = nodeEnd[node];
        continue;
      }
      State state = pushdown.step(path[nodeDepth - 1], nodeByte[node] & 0xFF);
      if (state == null) {
        node = nodeEnd[node];
        continue;
      }
      for (int i = offset[node]; i < offset[node + 1]; i++) {
        int token = tokens.nodeTokens[i];
        bits[token >> 6] |= 1L << token;
      }
      if (keepEnds && state.complete && nodeEnd[node] > node + 1) {
        if (numEnds == ends.length) {
          ends = Arrays.copyOf(ends, numEnds * 2);
        }
        ends[numEnds++] = node;
      }
      if (state.isEnd()) {
        node = nodeEnd[node];
      } else {
        path[nodeDepth] = state;
        node++;
      }
    }
  }
}

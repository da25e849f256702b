package ai.sluice.text.grammar;

import ai.sluice.text.grammar.Pushdown.Frame;
import ai.sluice.text.grammar.Pushdown.State;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayDeque;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The tokens that may follow a state, as bits. Most of them stay within one rule: they are found
 * once for a place, whoever called its rule, by a walk over all tokens. The few that go on after
 * the end of the rule are then tried against the callers. Both are kept, those used last.
 *
 * <p>Thread-safe: a mask that is known is read without a lock.
 */
final class TokenMasks {
  private static final int MIN_KEPT = 16;

  /** What a place alone decides. */
  private static final class Inside {
    final long[] tokens;

    /** Nodes of the trie after which the rule may have ended and the token goes on. */
    final int[] ends;

    boolean used;

    Inside(long[] tokens, int[] ends) {
      this.tokens = tokens;
      this.ends = ends;
    }
  }

  private final Pushdown pushdown;
  private final TokenTable tokens;
  private final @Nullable Inside[] inside;
  private final ArrayDeque<Integer> keptInside = new ArrayDeque<>();
  private final ArrayDeque<State> keptMasks = new ArrayDeque<>();
  private final int maxKept;
  private final int words;

  // Under the lock.
  private final long[] bits;
  private final State[] path;
  private int[] ends = new int[64];
  private int numEnds;

  /**
   * Keeps masks for a grammar.
   *
   * @param maxBytes for all masks together
   */
  TokenMasks(Pushdown pushdown, TokenTable tokens, long maxBytes) {
    this.pushdown = pushdown;
    this.tokens = tokens;
    int classes = 0;
    for (int state = 0; state < pushdown.automaton().states(); state++) {
      classes = Math.max(classes, pushdown.automaton().maskClass(state) + 1);
    }
    inside = new Inside[classes];
    words = (tokens.vocabSize() + 63) / 64;
    maxKept = (int) Math.min(1 << 20, Math.max(MIN_KEPT, maxBytes / 2 / bytesOfMask()));
    bits = new long[words];
    path = new State[tokens.maxTokenBytes() + 1];
  }

  private long bytesOfMask() {
    return 8L * words + 256;
  }

  long maxBytes() {
    return 2L * maxKept * bytesOfMask() + 4L * inside.length;
  }

  /** Bytes of a mask: whole 32-bit words. */
  int maskBytes() {
    return (tokens.vocabSize() + 31) / 32 * 4;
  }

  /** The tokens that may follow; little endian, not to be changed. */
  byte[] of(State state) {
    byte[] mask = state.mask;
    if (mask == null) {
      mask = compute(state);
    }
    state.maskUsed = true;
    return mask;
  }

  private byte[] compute(State state) {
    synchronized (pushdown) {
      byte[] known = state.mask;
      if (known != null) {
        return known;
      }
      long[] sum = new long[words];
      for (int i = 0; i < state.own; i++) {
        Inside here = inside(state.places[i]);
        for (int w = 0; w < words; w++) {
          sum[w] |= here.tokens[w];
        }
        Frame frame = state.frames[i];
        if (frame != null && here.ends.length > 0) {
          State after = pushdown.after(frame);
          if (!after.isEnd()) {
            System.arraycopy(sum, 0, bits, 0, words);
            for (int end : here.ends) {
              walk(after, end + 1, tokens.nodeEnd[end], tokens.nodeDepth[end], false);
            }
            System.arraycopy(bits, 0, sum, 0, words);
          }
        }
      }
      byte[] mask = new byte[maskBytes()];
      ByteBuffer out = ByteBuffer.allocate(8 * words).order(ByteOrder.LITTLE_ENDIAN);
      out.asLongBuffer().put(sum);
      out.get(0, mask, 0, mask.length);
      state.mask = mask;
      keptMasks.add(state);
      while (keptMasks.size() > maxKept) {
        State oldest = keptMasks.remove();
        if (oldest.mask == null) {
          continue;
        }
        if (oldest.maskUsed) {
          oldest.maskUsed = false;
          keptMasks.add(oldest);
        } else {
          oldest.mask = null;
        }
      }
      return mask;
    }
  }

  /** Finds ahead of use what takes longest: the places where almost any text may follow. */
  void prepare(int maxPlaces) {
    Automaton automaton = pushdown.automaton();
    boolean[] seen = new boolean[inside.length];
    int prepared = 0;
    for (int place = 0; place < automaton.states() && prepared < maxPlaces; place++) {
      int maskClass = automaton.maskClass(place);
      if (seen[maskClass]) {
        continue;
      }
      seen[maskClass] = true;
      int following = 0;
      for (int b = 0; b < 256; b++) {
        following += automaton.next(place, automaton.classes.of[b]) >= 0 ? 1 : 0;
      }
      if (following > 64) {
        synchronized (pushdown) {
          inside(place);
        }
        prepared++;
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
      known = new Inside(bits.clone(), Arrays.copyOf(ends, numEnds));
      inside[maskClass] = known;
      keptInside.add(maskClass);
      while (keptInside.size() > maxKept) {
        int oldest = keptInside.remove();
        Inside candidate = inside[oldest];
        if (candidate != null && candidate.used) {
          candidate.used = false;
          keptInside.add(oldest);
        } else {
          inside[oldest] = null;
        }
      }
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

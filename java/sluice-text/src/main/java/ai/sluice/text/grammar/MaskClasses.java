package ai.sluice.text.grammar;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * Finds the states that no token can tell apart: Moore's refinement, stopped after as many rounds
 * as the longest token has bytes that may follow each other in this grammar. So the many places in
 * a long counted repetition share a mask.
 */
final class MaskClasses {
  private final Automaton automaton;
  private final CompileBudget budget;

  /** Of each state: a class of bytes and the state after it, where that state changes. */
  private final int[][] runs;

  MaskClasses(Automaton automaton, CompileBudget budget) {
    this.automaton = automaton;
    this.budget = budget;
    runs = new int[automaton.states()][];
    int[] run = new int[2 * automaton.classes.count()];
    for (int state = 0; state < runs.length; state++) {
      int size = 0;
      int last = -1;
      budget.work(automaton.classes.count());
      for (int c = 0; c < automaton.classes.count(); c++) {
        int to = automaton.next(state, c);
        if (to != last) {
          run[size++] = c;
          run[size++] = to;
          last = to;
        }
      }
      runs[state] = Arrays.copyOf(run, size);
    }
  }

  /** The class of each state. */
  int[] refine(TokenTable tokens) {
    int maxTokenBytes = longest(tokens);
    int[] of = new int[automaton.states()];
    int known = 1;
    for (int round = 0; round <= maxTokenBytes; round++) {
      if (!budget.isAmple()) {
        // Right as well, with more masks to make.
        return IntStream.range(0, of.length).toArray();
      }
      Map<Long, List<int[]>> bySignature = new HashMap<>(known * 2);
      int[] refined = new int[of.length];
      int size = 0;
      for (int state = 0; state < of.length; state++) {
        List<int[]> alike =
            bySignature.computeIfAbsent(signature(state, of), key -> new ArrayList<>(1));
        int found = -1;
        for (int[] candidate : alike) {
          if (isAlike(state, candidate[0], of)) {
            found = candidate[1];
            break;
          }
        }
        if (found < 0) {
          found = size++;
          alike.add(new int[] {state, found});
        }
        refined[state] = found;
      }
      of = refined;
      if (size == known) {
        break;
      }
      known = size;
    }
    return of;
  }

  private long signature(int state, int[] of) {
    long hash = automaton.isAccepting(state) ? 2 : 1;
    hash = hash * 31 + of[state];
    int[] run = runs[state];
    budget.work(run.length + 8);
    int before = -2;
    for (int i = 0; i < run.length; i += 2) {
      int target = run[i + 1] < 0 ? -1 : of[run[i + 1]];
      if (target != before) {
        hash = (hash ^ run[i]) * 0x9E3779B97F4A7C15L + target;
        hash ^= hash >>> 29;
        before = target;
      }
    }
    int[] pairs = automaton.calls(state);
    for (int i = 0; i < pairs.length; i += 2) {
      // In any order: the pairs come from a map.
      hash += (pairs[i] * 0x9E3779B97F4A7C15L + of[pairs[i + 1]]) * 0xD6E8FEB86659FD93L;
    }
    return hash;
  }

  private boolean isAlike(int a, int b, int[] of) {
    int[] callsOfA = automaton.calls(a);
    if (automaton.isAccepting(a) != automaton.isAccepting(b)
        || of[a] != of[b]
        || callsOfA.length != automaton.calls(b).length) {
      return false;
    }
    if (!runsAlike(runs[a], runs[b], of)) {
      return false;
    }
    for (int i = 0; i < callsOfA.length; i += 2) {
      if (!hasCall(b, callsOfA[i], of[callsOfA[i + 1]], of)) {
        return false;
      }
    }
    return true;
  }

  private static boolean runsAlike(int[] a, int[] b, int[] of) {
    int i = 0;
    int k = 0;
    int inA = -1;
    int inB = -1;
    while (i < a.length || k < b.length) {
      int atA = i < a.length ? a[i] : Integer.MAX_VALUE;
      int atB = k < b.length ? b[k] : Integer.MAX_VALUE;
      int at = Math.min(atA, atB);
      if (atA == at) {
        inA = a[i + 1] < 0 ? -1 : of[a[i + 1]];
        i += 2;
      }
      if (atB == at) {
        inB = b[k + 1] < 0 ? -1 : of[b[k + 1]];
        k += 2;
      }
      if (inA != inB) {
        return false;
      }
    }
    return true;
  }

  private boolean hasCall(int state, int rule, int afterClass, int[] of) {
    int[] pairs = automaton.calls(state);
    for (int i = 0; i < pairs.length; i += 2) {
      if (pairs[i] == rule && of[pairs[i + 1]] == afterClass) {
        return true;
      }
    }
    return false;
  }

  /** Bytes of the longest token of which each two neighbours may follow each other. */
  private int longest(TokenTable tokens) {
    BitSet[] following = following();
    int[] of = automaton.classes.of;
    byte[] path = new byte[tokens.maxTokenBytes() + 1];
    int longest = 0;
    int node = 0;
    while (node < tokens.nodes()) {
      budget.work(1);
      int depth = tokens.nodeDepth[node];
      path[depth] = tokens.nodeByte[node];
      if (depth > 1 && !following[of[path[depth - 1] & 0xFF]].get(of[path[depth] & 0xFF])) {
        node = tokens.nodeEnd[node];
      } else {
        longest = Math.max(longest, depth);
        node++;
      }
    }
    return longest;
  }

  /** Of each class of bytes those that may come after it, and perhaps some more. */
  private BitSet[] following() {
    int count = automaton.classes.count();
    BitSet[] following = new BitSet[count];
    Arrays.setAll(following, c -> new BitSet(count));
    BitSet[] out = new BitSet[runs.length];
    Arrays.setAll(out, this::bytesAfter);
    for (int state = 0; state < runs.length; state++) {
      budget.work(count);
      for (int c = 0; c < count; c++) {
        int to = automaton.next(state, c);
        if (to >= 0) {
          following[c].or(out[to]);
        }
      }
    }
    return following;
  }

  private BitSet bytesAfter(int state) {
    int count = automaton.classes.count();
    BitSet out = new BitSet(count);
    budget.work(count);
    if (automaton.isAccepting(state)) {
      // The callers go on with what they like.
      out.set(0, count);
      return out;
    }
    for (int c = 0; c < count; c++) {
      if (automaton.next(state, c) >= 0) {
        out.set(c);
      }
    }
    if (automaton.calls(state).length > 0) {
      out.set(0, count);
    }
    return out;
  }
}

package ai.sluice.text.grammar;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** A deterministic automaton over classes of bytes and over rules; state 0 begins. */
final class Dfa {
  private static final int[] NO_CALLS = {};

  private final int classes;
  private int states;
  private int[] next = new int[0];
  private boolean[] accepting = new boolean[16];
  /** Of each state: rule, state after it, and so on. */
  private final List<int[]> calls = new ArrayList<>();

  private Dfa(int classes) {
    this.classes = classes;
  }

  int states() {
    return states;
  }

  /** The state after a byte of the class, or -1. */
  int next(int state, int c) {
    return next[state * classes + c];
  }

  boolean isAccepting(int state) {
    return accepting[state];
  }

  /** Pairs of a rule and the state after it. */
  int[] calls(int state) {
    return calls.get(state);
  }

  private int newState(boolean accepts, CompileBudget budget) {
    budget.states(states + 1L, classes);
    if ((states + 1) * classes > next.length) {
      next = Arrays.copyOf(next, Math.max(16 * classes, next.length * 2));
      accepting = Arrays.copyOf(accepting, next.length / classes);
    }
    Arrays.fill(next, states * classes, (states + 1) * classes, -1);
    accepting[states] = accepts;
    calls.add(NO_CALLS);
    return states++;
  }

  /** The automaton whose states are sets of states of {@code nfa}. */
  static Dfa of(Nfa nfa, ByteClasses classes, CompileBudget budget) {
    return new Subsets(nfa, classes, budget).run();
  }

  /** What both automata accept; neither may call rules. */
  Dfa and(Dfa other, ByteClasses byteClasses, CompileBudget budget) {
    Dfa product = new Dfa(byteClasses.count());
    Map<Long, Integer> known = new HashMap<>();
    List<int[]> pairs = new ArrayList<>();
    known.put(0L, product.newState(isAccepting(0) && other.isAccepting(0), budget));
    pairs.add(new int[] {0, 0});
    for (int state = 0; state < pairs.size(); state++) {
      int[] pair = pairs.get(state);
      for (int c = 0; c < classes; c++) {
        budget.work(1);
        int first = next(pair[0], c);
        int second = other.next(pair[1], c);
        if (first >= 0 && second >= 0) {
          long key = (long) first << 32 | second;
          Integer target = known.get(key);
          if (target == null) {
            target =
                product.newState(isAccepting(first) && other.isAccepting(second), budget);
            known.put(key, target);
            pairs.add(new int[] {first, second});
          }
          product.next[state * classes + c] = target;
        }
      }
    }
    return product;
  }

  /** The subset construction. */
  private static final class Subsets {
    private static final int END = 1;

    private final Nfa nfa;
    private final ByteClasses classes;
    private final CompileBudget budget;
    private final Dfa dfa;
    private final Map<IntKey, Integer> bySet = new HashMap<>();
    private final Map<IntKey, Integer> byTargets = new HashMap<>();
    private final List<int[]> sets = new ArrayList<>();
    private final int[] mark;
    private int stamp;
    private int[] found = new int[16];

    Subsets(Nfa nfa, ByteClasses classes, CompileBudget budget) {
      this.nfa = nfa;
      this.classes = classes;
      this.budget = budget;
      this.dfa = new Dfa(classes.count());
      this.mark = new int[nfa.states()];
    }

    Dfa run() {
      stateOf(new int[] {0});
      int[][] targets = new int[classes.count()][8];
      int[] sizes = new int[classes.count()];
      for (int state = 0; state < sets.size(); state++) {
        Arrays.fill(sizes, 0);
        Map<Integer, List<Integer>> afterRule = new HashMap<>();
        for (int part : sets.get(state)) {
          for (int e = nfa.firstEdge(part); e >= 0; e = nfa.nextEdge(e)) {
            if (nfa.isRule(e)) {
              afterRule.computeIfAbsent(nfa.high(e), rule -> new ArrayList<>()).add(nfa.to(e));
            } else if (!nfa.isNothing(e)) {
              for (int c = classes.of[nfa.low(e)]; c <= classes.of[nfa.high(e)]; c++) {
                if (sizes[c] == targets[c].length) {
                  targets[c] = Arrays.copyOf(targets[c], sizes[c] * 2);
                }
                targets[c][sizes[c]++] = nfa.to(e);
              }
            }
          }
          budget.work(4);
        }
        for (int c = 0; c < sizes.length; c++) {
          budget.work(sizes[c] + 1);
          if (sizes[c] > 0 && classes.isSpellable(c)) {
            // First, since making a state may move the table.
            int target = stateOf(Arrays.copyOf(targets[c], sizes[c]));
            dfa.next[state * classes.count() + c] = target;
          }
        }
        if (!afterRule.isEmpty()) {
          dfa.calls.set(state, calls(afterRule));
        }
      }
      return dfa;
    }

    private int[] calls(Map<Integer, List<Integer>> afterRule) {
      int[] pairs = new int[2 * afterRule.size()];
      int next = 0;
      for (Map.Entry<Integer, List<Integer>> entry : afterRule.entrySet()) {
        pairs[next++] = entry.getKey();
        pairs[next++] = stateOf(entry.getValue().stream().mapToInt(to -> to).toArray());
      }
      return pairs;
    }

    private int stateOf(int[] targets) {
      Arrays.sort(targets);
      IntKey key = new IntKey(targets);
      Integer known = byTargets.get(key);
      if (known != null) {
        return known;
      }
      int[] set = closure(targets);
      budget.keep(targets.length + set.length);
      IntKey setKey = new IntKey(set);
      Integer state = bySet.get(setKey);
      if (state == null) {
        state = dfa.newState(Arrays.binarySearch(set, END) >= 0, budget);
        bySet.put(setKey, state);
        sets.add(set);
      }
      byTargets.put(key, state);
      return state;
    }

    /** The states reached over edges for nothing; those that only pass on are left out. */
    private int[] closure(int[] from) {
      stamp++;
      int size = 0;
      for (int state : from) {
        size = mark(state, size);
      }
      int kept = 0;
      for (int i = 0; i < size; i++) {
        int state = found[i];
        boolean matters = state == END;
        for (int e = nfa.firstEdge(state); e >= 0; e = nfa.nextEdge(e)) {
          budget.work(1);
          if (nfa.isNothing(e)) {
            size = mark(nfa.to(e), size);
          } else {
            matters = true;
          }
        }
        if (matters) {
          found[kept++] = state;
        }
      }
      int[] set = Arrays.copyOf(found, kept);
      Arrays.sort(set);
      return set;
    }

    private int mark(int state, int size) {
      if (mark[state] == stamp) {
        return size;
      }
      mark[state] = stamp;
      if (size == found.length) {
        found = Arrays.copyOf(found, size * 2);
      }
      found[size] = state;
      return size + 1;
    }
  }

  /** An array as a key of a map; not to be changed. */
  private static final class IntKey {
    private final int[] values;
    private final int hash;

    IntKey(int[] values) {
      this.values = values;
      this.hash = Arrays.hashCode(values);
    }

    @Override
    public boolean equals(Object other) {
      return other instanceof IntKey key && Arrays.equals(values, key.values);
    }

    @Override
    public int hashCode() {
      return hash;
    }
  }
}

package ai.sluice.text.grammar;

import ai.sluice.api.InvalidRequestException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The deterministic automata of all rules in one table. From every state that is left, an end can
 * be reached by bytes that are tokens of their own, so no choice of tokens leads to a dead end.
 * Immutable.
 */
final class Automaton {
  private static final int[] NO_CALLS = {};

  final ByteClasses classes;
  private final int states;
  private final int[] next;
  private final boolean[] accepting;
  private final boolean[] goesOn;
  private final int[][] calls;
  private final int[] starts;

  /** Of each rule its place in an order in which callers at the same byte come first. */
  private final int[] ranks;

  private int[] maskClasses = new int[0];

  private Automaton(ByteClasses classes, List<Dfa> dfas, CompileBudget budget) {
    this.classes = classes;
    int size = 0;
    starts = new int[dfas.size()];
    for (int rule = 0; rule < starts.length; rule++) {
      starts[rule] = size;
      size += dfas.get(rule).states();
      budget.states(size, classes.count());
    }
    states = size;
    int count = classes.count();
    next = new int[size * count];
    accepting = new boolean[size];
    goesOn = new boolean[size];
    calls = new int[size][];
    ranks = new int[starts.length];
    for (int rule = 0; rule < starts.length; rule++) {
      Dfa dfa = dfas.get(rule);
      for (int i = 0; i < dfa.states(); i++) {
        budget.work(count);
        int state = starts[rule] + i;
        accepting[state] = dfa.isAccepting(i);
        for (int c = 0; c < count; c++) {
          int to = dfa.next(i, c);
          next[state * count + c] = to < 0 ? -1 : starts[rule] + to;
        }
        int[] pairs = dfa.calls(i).clone();
        for (int k = 1; k < pairs.length; k += 2) {
          pairs[k] += starts[rule];
        }
        calls[state] = pairs;
      }
    }
  }

  /**
   * Builds the automaton of a grammar.
   *
   * @throws InvalidRequestException if no text fits, a rule calls itself before any byte, or a
   *     limit is reached
   */
  static Automaton of(Rules rules, TokenTable tokens, CompileBudget budget) {
    NfaBuilder builder = new NfaBuilder(tokens, budget);
    List<Nfa> nfas = new ArrayList<>();
    boolean[] begins = new boolean[257];
    for (int rule = 0; rule < rules.size(); rule++) {
      Nfa nfa = builder.build(rules.form(rule));
      nfa.markBoundaries(begins);
      nfas.add(nfa);
    }
    ByteClasses classes = new ByteClasses(begins, tokens);
    List<Dfa> dfas = new ArrayList<>();
    long size = 0;
    for (int rule = 0; rule < nfas.size(); rule++) {
      dfas.add(Dfa.of(nfas.get(rule), classes, budget));
      size += dfas.get(rule).states();
      budget.states(size, classes.count());
    }
    Automaton automaton = new Automaton(classes, dfas, budget);
    automaton.rank(rules);
    automaton.trim(rules, budget);
    automaton.maskClasses = new MaskClasses(automaton, budget).refine(tokens);
    return automaton;
  }

  int states() {
    return states;
  }

  int next(int state, int c) {
    return next[state * classes.count() + c];
  }

  boolean isAccepting(int state) {
    return accepting[state];
  }

  /** Whether a byte or a rule can follow within the rule. */
  boolean goesOn(int state) {
    return goesOn[state];
  }

  /** Pairs of a rule and the state after it. */
  int[] calls(int state) {
    return calls[state];
  }

  int start(int rule) {
    return starts[rule];
  }

  int rank(int rule) {
    return ranks[rule];
  }

  /** States of one class let the same tokens pass, as far as their own rule decides. */
  int maskClass(int state) {
    return maskClasses[state];
  }

  /** Whether some text has this byte. */
  boolean usesByte(int value) {
    for (int i = classes.of[value]; i < next.length; i += classes.count()) {
      if (next[i] >= 0) {
        return true;
      }
    }
    return false;
  }

  /** Heap that the tables take. */
  long bytes() {
    return 4L * next.length + 32L * states;
  }

  /** Depth-first, without recursion in Java: a hostile schema may chain thousands of rules. */
  private void rank(Rules rules) {
    int[] done = new int[starts.length];
    int[] path = new int[starts.length];
    int[] at = new int[starts.length];
    int nextRank = starts.length;
    for (int root = 0; root < starts.length; root++) {
      int depth = 0;
      if (done[root] == 0) {
        path[depth++] = root;
        done[root] = 1;
      }
      while (depth > 0) {
        int rule = path[depth - 1];
        int[] first = calls[starts[rule]];
        if (at[rule] == first.length) {
          done[rule] = 2;
          ranks[rule] = --nextRank;
          depth--;
          continue;
        }
        int callee = first[at[rule]];
        at[rule] += 2;
        if (accepting[starts[callee]]) {
          throw new IllegalStateException(
              rules.name(callee) + ": may be empty (expected: text; a defect of Sluice)");
        }
        if (done[callee] == 1) {
          throw new InvalidRequestException(
              rules.name(callee)
                  + ": refers to itself without any text between (expected: a $ref to itself only"
                  + " within properties or items)");
        }
        if (done[callee] == 0) {
          done[callee] = 1;
          path[depth++] = callee;
        }
      }
    }
  }

  /** Takes out the edges from which no end can be reached. */
  private void trim(Rules rules, CompileBudget budget) {
    int count = classes.count();
    boolean[] alive = new boolean[states];
    boolean changed = true;
    while (changed) {
      changed = false;
      for (int state = states - 1; state >= 0; state--) {
        budget.work(4);
        if (!alive[state] && canEnd(state, alive, budget)) {
          alive[state] = true;
          changed = true;
        }
      }
    }
    if (!alive[starts[0]]) {
      throw new InvalidRequestException(
          rules.name(0)
              + ": no text fits, or only an endless one, or one that the model's vocabulary cannot"
              + " spell (expected: a form that some text has; remedy: give recursion an end, such"
              + " as anyOf with null, and check bounds against each other)");
    }
    for (int state = 0; state < states; state++) {
      budget.work(count);
      boolean on = false;
      for (int i = state * count; i < (state + 1) * count; i++) {
        if (next[i] >= 0 && !alive[next[i]]) {
          next[i] = -1;
        }
        on |= next[i] >= 0;
      }
      int kept = 0;
      int[] pairs = calls[state];
      for (int i = 0; i < pairs.length; i += 2) {
        if (alive[starts[pairs[i]]] && alive[pairs[i + 1]]) {
          pairs[kept++] = pairs[i];
          pairs[kept++] = pairs[i + 1];
        }
      }
      calls[state] = kept == 0 ? NO_CALLS : Arrays.copyOf(pairs, kept);
      goesOn[state] = on || kept > 0;
    }
  }

  private boolean canEnd(int state, boolean[] alive, CompileBudget budget) {
    if (accepting[state]) {
      return true;
    }
    int count = classes.count();
    budget.work(count);
    for (int i = state * count; i < (state + 1) * count; i++) {
      if (next[i] >= 0 && alive[next[i]]) {
        return true;
      }
    }
    int[] pairs = calls[state];
    for (int i = 0; i < pairs.length; i += 2) {
      if (alive[starts[pairs[i]]] && alive[pairs[i + 1]]) {
        return true;
      }
    }
    return false;
  }
}

package ai.sluice.text.grammar;

import java.util.Arrays;

/** An automaton with edges for nothing, ranges of bytes and rules; see {@link NfaBuilder}. */
final class Nfa {
  private static final int NOTHING = -1;
  private static final int RULE = -2;

  private final CompileBudget budget;
  private int[] firstEdge = new int[64];
  private int states;
  private int[] edgeNext = new int[128];
  private int[] edgeLow = new int[128];
  private int[] edgeHigh = new int[128];
  private int[] edgeTo = new int[128];
  private int edges;

  Nfa(CompileBudget budget) {
    this.budget = budget;
  }

  int states() {
    return states;
  }

  int newState() {
    budget.part();
    if (states == firstEdge.length) {
      firstEdge = Arrays.copyOf(firstEdge, states * 2);
    }
    firstEdge[states] = -1;
    return states++;
  }

  void nothing(int from, int to) {
    edge(from, NOTHING, 0, to);
  }

  void bytes(int from, int low, int high, int to) {
    edge(from, low, high, to);
  }

  void call(int from, int rule, int to) {
    edge(from, RULE, rule, to);
  }

  private void edge(int from, int low, int high, int to) {
    budget.work(1);
    if (edges == edgeTo.length) {
      int size = edges * 2;
      edgeNext = Arrays.copyOf(edgeNext, size);
      edgeLow = Arrays.copyOf(edgeLow, size);
      edgeHigh = Arrays.copyOf(edgeHigh, size);
      edgeTo = Arrays.copyOf(edgeTo, size);
    }
    edgeNext[edges] = firstEdge[from];
    edgeLow[edges] = low;
    edgeHigh[edges] = high;
    edgeTo[edges] = to;
    firstEdge[from] = edges++;
  }

  int firstEdge(int state) {
    return firstEdge[state];
  }

  int nextEdge(int edge) {
    return edgeNext[edge];
  }

  boolean isNothing(int edge) {
    return edgeLow[edge] == NOTHING;
  }

  boolean isRule(int edge) {
    return edgeLow[edge] == RULE;
  }

  int low(int edge) {
    return edgeLow[edge];
  }

  /** The last byte, or the rule. */
  int high(int edge) {
    return edgeHigh[edge];
  }

  int to(int edge) {
    return edgeTo[edge];
  }

  /** Marks the bytes at which ranges begin. */
  void markBoundaries(boolean[] begins) {
    for (int edge = 0; edge < edges; edge++) {
      if (edgeLow[edge] >= 0) {
        begins[edgeLow[edge]] = true;
        begins[edgeHigh[edge] + 1] = true;
      }
    }
  }
}

package ai.sluice.text.grammar;

import ai.sluice.api.InvalidRequestException;
import java.util.concurrent.CancellationException;

/**
 * Counts what one compilation costs and ends it when that is too much, or when its thread is
 * interrupted. Every loop whose length a schema decides asks here.
 */
final class CompileBudget {
  /** Units of work, about a nanosecond to ten each, between two looks at the clock. */
  private static final int WORK_PER_LOOK = 1 << 14;

  /** States of the automaton before it is made deterministic, for each one after. */
  private static final int PARTS_PER_STATE = 8;

  /** Cells of the transition table; 4 bytes each. */
  private static final long MAX_CELLS = 1 << 22;

  /** Numbers kept while an automaton is made deterministic; 4 bytes each. */
  private static final long MAX_KEPT = 1 << 23;

  private final GrammarLimits limits;
  private final long deadline;
  private final long halfNanos;
  private int work;
  private int parts;
  private long kept;

  CompileBudget(GrammarLimits limits) {
    this.limits = limits;
    long nanos;
    try {
      nanos = limits.maxCompileTime().toNanos();
    } catch (ArithmeticException e) {
      nanos = Long.MAX_VALUE / 2;
    }
    nanos = Math.min(nanos, Long.MAX_VALUE / 2);
    deadline = System.nanoTime() + nanos;
    halfNanos = nanos / 2;
    look();
  }

  GrammarLimits limits() {
    return limits;
  }

  void work(int units) {
    work += units;
    if (work >= WORK_PER_LOOK) {
      work = 0;
      look();
    }
  }

  /** Whether more than half of the time is left for work that only makes later steps faster. */
  boolean isAmple() {
    return deadline - System.nanoTime() > halfNanos;
  }

  private void look() {
    if (Thread.currentThread().isInterrupted()) {
      throw new CancellationException("responseFormat: interrupted while compiling");
    }
    if (System.nanoTime() - deadline > 0) {
      throw new InvalidRequestException(
          "responseFormat: compiling takes longer than "
              + limits.maxCompileTime()
              + " (expected: less; remedy: smaller counts, fewer alternatives that overlap)");
    }
  }

  /** Counts one state of an automaton that is not deterministic yet. */
  void part() {
    work(1);
    if (++parts > (long) limits.maxStates() * PARTS_PER_STATE) {
      throw tooLarge();
    }
  }

  /** Checks the size of the deterministic automaton. */
  void states(long states, int classes) {
    if (states > limits.maxStates() || states * classes > MAX_CELLS) {
      throw tooLarge();
    }
  }

  /** Counts numbers kept while an automaton is made deterministic. */
  void keep(int numbers) {
    kept += numbers;
    if (kept > MAX_KEPT) {
      throw tooLarge();
    }
  }

  private InvalidRequestException tooLarge() {
    return new InvalidRequestException(
        "responseFormat: needs more than "
            + limits.maxStates()
            + " states (expected: at most that; remedy: smaller counts in patterns, maxLength and"
            + " maxItems, fewer alternatives that overlap)");
  }
}

package ai.sluice.text.jinja;

import java.time.Clock;

/** The state of one rendering: what it has used of its limits. Not thread-safe. */
final class Interpreter {
  private static final int MAX_NESTING = 200;

  private final Limits limits;
  private final Clock clock;
  private long steps;
  private long chars;
  private int depth;

  Interpreter(Limits limits, Clock clock) {
    this.limits = limits;
    this.clock = clock;
  }

  Clock clock() {
    return clock;
  }

  /** Counts one step. */
  void step() {
    if (++steps > limits.maxSteps()) {
      throw TemplateRuntimeException.limit(
          "more than " + limits.maxSteps() + " steps (expected: a template that ends sooner)");
    }
  }

  /** Counts the work of going through a number of elements. */
  void steps(long count) {
    steps += count - 1;
    step();
  }

  /** Counts the work of looking at each character of a text by itself, dear beside a search. */
  void walked(long length) {
    steps(1 + (length >> 3));
  }

  /** Counts the work of a search or copy through the characters of a text. */
  void scanned(long length) {
    steps(1 + (length >> 6));
  }

  /** Counts characters about to be made. */
  void chars(long count) {
    chars += count;
    if (chars > limits.maxChars() || chars < 0) {
      throw TemplateRuntimeException.limit(
          "more than " + limits.maxChars() + " characters (expected: a template that makes fewer)");
    }
  }

  /** Counts the characters of a text just made, and the time that took. */
  String made(String text) {
    chars(text.length());
    scanned(text.length());
    return text;
  }

  /** Enters a macro. */
  void enter() {
    if (++depth > limits.maxDepth()) {
      throw TemplateRuntimeException.limit(
          "macros called " + limits.maxDepth() + " deep (expected: fewer)");
    }
  }

  /** Leaves a macro. */
  void leave() {
    depth--;
  }

  /** Checks how deep a value is nested that is being walked. */
  void nested(int level) {
    step();
    if (level > MAX_NESTING) {
      throw TemplateRuntimeException.limit(
          "a value nested " + MAX_NESTING + " deep (expected: less)");
    }
  }
}

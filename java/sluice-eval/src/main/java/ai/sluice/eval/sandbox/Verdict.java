package ai.sluice.eval.sandbox;

import java.util.List;
import java.util.Locale;

/**
 * How a program ended.
 *
 * @param outcome the kind of end
 * @param detail why, in words that the same program gives again
 * @param seconds wall-clock time
 * @param flags names in its source that a reader may want to look at
 */
public record Verdict(Outcome outcome, String detail, double seconds, List<String> flags) {
  /** Kinds of ends. */
  public enum Outcome {
    /** It ran to its end. */
    PASSED,
    /** It raised something, or ended before its end. */
    FAILED,
    /** It was stopped at its deadline. */
    TIMED_OUT,
    /** It was not run. */
    REFUSED
  }

  /** Copies the list. */
  public Verdict {
    flags = List.copyOf(flags);
  }

  /** Whether all tests in the program held. */
  public boolean passed() {
    return outcome == Outcome.PASSED;
  }

  /** In one line, without the time: {@code failed: AssertionError [gc]}, flags in brackets. */
  public String toText() {
    String kind = outcome.name().toLowerCase(Locale.ROOT).replace('_', ' ');
    boolean says = !detail.isEmpty() && !detail.equals(kind);
    return kind + (says ? ": " + detail : "") + (flags.isEmpty() ? "" : " " + flags);
  }
}

package ai.sluice.eval.metrics;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The filters that take the answer out of a response to a GSM8K question, as lm-eval 0.4.13 has
 * them for {@code gsm8k} and {@code gsm8k_cot}. Digits are ASCII digits. Thread-safe.
 */
public enum Gsm8kFilter {
  /** {@code strict-match} of {@code gsm8k}: the number after the first {@code "#### "}. */
  STRICT_HASHES("strict-match", "#### (-?[0-9.,]+)", false),
  /**
   * {@code strict-match} of {@code gsm8k_cot}: the number after the first {@code "The answer is "}
   * that another character follows. At the end of the text its own last one is that character: "The
   * answer is 18" gives "1".
   */
  STRICT_ANSWER_IS("strict-match", "The answer is (-?[0-9.,]+).", false),
  /**
   * {@code flexible-extract} of both: the last number, or the last run of at least two of {@code
   * $0-9.,}, which need not hold a digit.
   */
  FLEXIBLE("flexible-extract", "(-?[$0-9.,]{2,})|(-?[0-9]+)", true);

  /** What is extracted from a response without an answer. */
  public static final String INVALID = "[invalid]";

  private final String filterName;
  private final Pattern pattern;
  private final boolean last;

  // Only a line feed ends a line in Python's re; with UNIX_LINES the dot matches the others too.
  Gsm8kFilter(String filterName, String regex, boolean last) {
    this.filterName = filterName;
    this.pattern = Pattern.compile(regex, Pattern.UNIX_LINES);
    this.last = last;
  }

  /** The name in lm-eval's results, as in {@code exact_match,strict-match}. */
  public String filterName() {
    return filterName;
  }

  /**
   * The answer, or {@link #INVALID} where there is none.
   *
   * @param response of the model, already cut at the stop strings
   */
  public String extract(String response) {
    Matcher matcher = pattern.matcher(response);
    // No white space can match, so lm-eval's strip() of what is found has nothing to do.
    String found = INVALID;
    while (matcher.find()) {
      found = matcher.group(1) != null ? matcher.group(1) : matcher.group(2);
      if (!last) {
        break;
      }
    }
    return found;
  }
}

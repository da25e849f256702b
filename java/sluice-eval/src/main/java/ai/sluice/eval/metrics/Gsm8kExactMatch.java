package ai.sluice.eval.metrics;

import java.util.Locale;
import java.util.regex.Pattern;

/** lm-eval 0.4.13's {@code exact_match} with the ignore list of the GSM8K tasks. Thread-safe. */
public final class Gsm8kExactMatch {
  private static final String MARK = "#### ";
  // As in Python, $ is the end or before a line feed that ends the text, and no other line end.
  private static final Pattern LAST_DOT = Pattern.compile("\\.$", Pattern.UNIX_LINES);

  private Gsm8kExactMatch() {}

  /**
   * Whether both texts are equal without what is ignored. They are compared as text: 18.00 is not
   * 18.
   *
   * @param prediction what a {@link Gsm8kFilter} extracted
   * @param reference the whole answer of the data set or the number alone
   */
  public static boolean matches(String prediction, String reference) {
    return reduced(prediction).equals(reduced(reference));
  }

  /**
   * A text without every comma, every dollar sign, all up to the last {@code "#### "} and a full
   * stop at the end, in this order, in lower case.
   */
  static String reduced(String text) {
    String plain = text.replace(",", "").replace("$", "");
    int mark = plain.lastIndexOf(MARK);
    if (mark >= 0) {
      plain = plain.substring(mark + MARK.length());
    }
    return LAST_DOT.matcher(plain).replaceAll("").toLowerCase(Locale.ROOT);
  }
}

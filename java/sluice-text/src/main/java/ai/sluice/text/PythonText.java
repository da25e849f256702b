package ai.sluice.text;

/**
 * What Python's {@code str} does where Java's {@code String} differs: white space is that of {@code
 * str.isspace}, which holds U+001C to U+001F, U+0085, U+00A0, U+2007 and U+202F too.
 */
public final class PythonText {
  private PythonText() {}

  /** Without white space at both ends. */
  public static String strip(String text) {
    int begin = 0;
    String right = rstrip(text);
    while (begin < right.length() && isSpace(right.charAt(begin))) {
      begin++;
    }
    return right.substring(begin);
  }

  /** Without white space at the end. */
  public static String rstrip(String text) {
    int end = text.length();
    while (end > 0 && isSpace(text.charAt(end - 1))) {
      end--;
    }
    return text.substring(0, end);
  }

  /** Python's {@code str.isspace} for one character; all such characters are in the basic plane. */
  public static boolean isSpace(int c) {
    return c >= 0x09 && c <= 0x0d
        || c >= 0x1c && c <= 0x20
        || c == 0x85
        || c == 0xa0
        || c == 0x1680
        || c >= 0x2000 && c <= 0x200a
        || c == 0x2028
        || c == 0x2029
        || c == 0x202f
        || c == 0x205f
        || c == 0x3000;
  }
}

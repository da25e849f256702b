package ai.sluice.text.jinja;

import ai.sluice.text.PythonText;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.NoSuchElementException;
import org.jspecify.annotations.Nullable;

/** Strings as Python sees them: indices count code points, white space is Unicode's. */
final class PyStrings {
  private PyStrings() {}

  static boolean isSpace(int c) {
    return PythonText.isSpace(c);
  }

  static boolean isLineBreak(char c) {
    return c >= 0x0A && c <= 0x0D
        || c >= 0x1C && c <= 0x1E
        || c == 0x85
        || c == 0x2028
        || c == 0x2029;
  }

  /** Whether indices in code points and in chars are the same. */
  private static boolean isBasic(String text) {
    for (int i = 0; i < text.length(); i++) {
      if (Character.isSurrogate(text.charAt(i))) {
        return false;
      }
    }
    return true;
  }

  static int length(String text) {
    return text.codePointCount(0, text.length());
  }

  /** The code point at an index that is in range, as a string. */
  static String at(String text, int index) {
    int i = isBasic(text) ? index : text.offsetByCodePoints(0, index);
    return text.substring(i, i + Character.charCount(text.codePointAt(i)));
  }

  /** The text from one index to another, both in range, in steps of one. */
  static String range(String text, int from, int to) {
    if (isBasic(text)) {
      return text.substring(from, to);
    }
    int start = text.offsetByCodePoints(0, from);
    return text.substring(start, text.offsetByCodePoints(start, to - from));
  }

  /** Walks the code points as strings, without a copy of the whole. */
  static Iterator<Object> iterator(String text) {
    return new Iterator<>() {
      private int position;

      @Override
      public boolean hasNext() {
        return position < text.length();
      }

      @Override
      public Object next() {
        if (!hasNext()) {
          throw new NoSuchElementException();
        }
        int start = position;
        position += Character.charCount(text.codePointAt(start));
        return text.substring(start, position);
      }
    };
  }

  /** The code points as strings. */
  static List<Object> characters(String text) {
    List<Object> list = new ArrayList<>(text.length());
    for (int i = 0; i < text.length(); ) {
      int size = Character.charCount(text.codePointAt(i));
      list.add(text.substring(i, i + size));
      i += size;
    }
    return list;
  }

  static String stripRight(String text) {
    return strip(text, null, false, true);
  }

  /**
   * Strips characters at the ends.
   *
   * @param chars the characters to strip, or null for white space
   */
  static String strip(String text, @Nullable String chars, boolean left, boolean right) {
    int start = 0;
    int end = text.length();
    while (left && start < end && stripped(text.codePointAt(start), chars)) {
      start += Character.charCount(text.codePointAt(start));
    }
    while (right && end > start && stripped(text.codePointBefore(end), chars)) {
      end -= Character.charCount(text.codePointBefore(end));
    }
    return text.substring(start, end);
  }

  private static boolean stripped(int c, @Nullable String chars) {
    return chars == null ? isSpace(c) : chars.indexOf(c) >= 0;
  }

  /** Python's str.split: by white space if the separator is null; max below 0 means no limit. */
  static List<Object> split(String text, @Nullable String separator, long max) {
    List<Object> parts = new ArrayList<>();
    long left = max < 0 ? Long.MAX_VALUE : max;
    if (separator == null) {
      int i = 0;
      while (true) {
        while (i < text.length() && isSpace(text.charAt(i))) {
          i++;
        }
        if (i >= text.length()) {
          return parts;
        }
        if (left-- == 0) {
          parts.add(text.substring(i));
          return parts;
        }
        int start = i;
        while (i < text.length() && !isSpace(text.charAt(i))) {
          i++;
        }
        parts.add(text.substring(start, i));
      }
    }
    int start = 0;
    for (int at = text.indexOf(separator);
        at >= 0 && left-- > 0;
        at = text.indexOf(separator, start)) {
      parts.add(text.substring(start, at));
      start = at + separator.length();
    }
    parts.add(text.substring(start));
    return parts;
  }

  /** Python's str.rsplit. */
  static List<Object> splitRight(String text, @Nullable String separator, long max) {
    List<Object> parts = new ArrayList<>();
    long left = max < 0 ? Long.MAX_VALUE : max;
    int end = text.length();
    if (separator == null) {
      while (true) {
        while (end > 0 && isSpace(text.charAt(end - 1))) {
          end--;
        }
        if (end == 0) {
          break;
        }
        if (left-- == 0) {
          parts.add(text.substring(0, end));
          break;
        }
        int stop = end;
        while (end > 0 && !isSpace(text.charAt(end - 1))) {
          end--;
        }
        parts.add(text.substring(end, stop));
      }
    } else {
      while (left-- > 0) {
        int at =
            end < separator.length() ? -1 : text.lastIndexOf(separator, end - separator.length());
        if (at < 0) {
          break;
        }
        parts.add(text.substring(at + separator.length(), end));
        end = at;
      }
      parts.add(text.substring(0, end));
    }
    java.util.Collections.reverse(parts);
    return parts;
  }

  static List<Object> splitLines(String text, boolean keepEnds) {
    List<Object> lines = new ArrayList<>();
    int start = 0;
    for (int i = 0; i < text.length(); i++) {
      if (isLineBreak(text.charAt(i))) {
        int end = i;
        if (text.charAt(i) == '\r' && i + 1 < text.length() && text.charAt(i + 1) == '\n') {
          i++;
        }
        lines.add(text.substring(start, keepEnds ? i + 1 : end));
        start = i + 1;
      }
    }
    if (start < text.length()) {
      lines.add(text.substring(start));
    }
    return lines;
  }

  /** Replaces; a count below 0 means all. An empty old text matches around every character. */
  static String replace(String text, String old, String replacement, long count) {
    long left = count < 0 ? Long.MAX_VALUE : count;
    StringBuilder out = new StringBuilder();
    if (old.isEmpty()) {
      int i = 0;
      while (left-- > 0) {
        out.append(replacement);
        if (i >= text.length()) {
          return out.toString();
        }
        int size = Character.charCount(text.codePointAt(i));
        out.append(text, i, i + size);
        i += size;
      }
      return out.append(text, i, text.length()).toString();
    }
    int start = 0;
    for (int at = text.indexOf(old); at >= 0 && left-- > 0; at = text.indexOf(old, start)) {
      out.append(text, start, at).append(replacement);
      start = at + old.length();
    }
    return start == 0 ? text : out.append(text, start, text.length()).toString();
  }

  /** How often a text occurs, without overlaps. */
  static long count(String text, String part) {
    if (part.isEmpty()) {
      return length(text) + 1L;
    }
    long count = 0;
    for (int at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length())) {
      count++;
    }
    return count;
  }

  /** Python's str.capitalize. */
  static String capitalize(String text) {
    if (text.isEmpty()) {
      return text;
    }
    int size = Character.charCount(text.codePointAt(0));
    return titled(text.substring(0, size)) + text.substring(size).toLowerCase(Locale.ROOT);
  }

  /** Python's str.title: each run of letters begins with a capital. */
  static String title(String text) {
    StringBuilder out = new StringBuilder(text.length());
    boolean within = false;
    for (int i = 0; i < text.length(); ) {
      int c = text.codePointAt(i);
      String one = new String(Character.toChars(c));
      out.append(within ? one.toLowerCase(Locale.ROOT) : titled(one));
      within = isCased(c);
      i += Character.charCount(c);
    }
    return out.toString();
  }

  private static String titled(String one) {
    int c = one.codePointAt(0);
    int title = Character.toTitleCase(c);
    if (title != c) {
      return new String(Character.toChars(title));
    }
    // A letter that becomes several, such as the German sharp s, has one capital.
    String upper = one.toUpperCase(Locale.ROOT);
    int first = Character.charCount(upper.codePointAt(0));
    return upper.substring(0, first) + upper.substring(first).toLowerCase(Locale.ROOT);
  }

  static String swapCase(String text) {
    StringBuilder out = new StringBuilder(text.length());
    text.codePoints()
        .forEach(
            c -> {
              String one = new String(Character.toChars(c));
              out.append(
                  Character.isUpperCase(c)
                      ? one.toLowerCase(Locale.ROOT)
                      : one.toUpperCase(Locale.ROOT));
            });
    return out.toString();
  }

  static boolean isCased(int c) {
    return Character.isUpperCase(c) || Character.isLowerCase(c) || Character.isTitleCase(c);
  }

  /** Whether there are cased letters and all are of the wanted case. */
  static boolean isCase(String text, boolean upper) {
    boolean any = false;
    for (int i = 0; i < text.length(); ) {
      int c = text.codePointAt(i);
      if (Character.isTitleCase(c)
          || (upper ? Character.isLowerCase(c) : Character.isUpperCase(c))) {
        return false;
      }
      any |= isCased(c);
      i += Character.charCount(c);
    }
    return any;
  }

  /** Order by code points, which UTF-16 units alone do not give. */
  static int compare(String a, String b) {
    int length = Math.min(a.length(), b.length());
    for (int i = 0; i < length; i++) {
      char x = a.charAt(i);
      char y = b.charAt(i);
      if (x != y) {
        boolean xs = Character.isSurrogate(x);
        boolean ys = Character.isSurrogate(y);
        return xs == ys ? Character.compare(x, y) : xs ? 1 : -1;
      }
    }
    return Integer.compare(a.length(), b.length());
  }

  /** Decodes the escapes of a string literal; an unknown escape stays as it is written. */
  static String unescape(String raw, int line) {
    if (raw.indexOf('\\') < 0) {
      return raw;
    }
    StringBuilder out = new StringBuilder(raw.length());
    int i = 0;
    while (i < raw.length()) {
      char c = raw.charAt(i++);
      if (c != '\\' || i >= raw.length()) {
        out.append(c);
        continue;
      }
      char e = raw.charAt(i++);
      switch (e) {
        case '\n' -> {}
        case '\\', '\'', '"' -> out.append(e);
        case 'a' -> out.append('\u0007');
        case 'b' -> out.append('\b');
        case 'f' -> out.append('\f');
        case 'n' -> out.append('\n');
        case 'r' -> out.append('\r');
        case 't' -> out.append('\t');
        case 'v' -> out.append('\u000B');
        case 'x', 'u', 'U' -> {
          int digits = e == 'x' ? 2 : e == 'u' ? 4 : 8;
          int code = i + digits <= raw.length() ? hex(raw, i, digits) : -1;
          if (code < 0 || code > Character.MAX_CODE_POINT) {
            throw new TemplateSyntaxException("a malformed escape \\" + e + " in a string", line);
          }
          out.appendCodePoint(code);
          i += digits;
        }
        case '0', '1', '2', '3', '4', '5', '6', '7' -> {
          int code = e - '0';
          for (int k = 0;
              k < 2 && i < raw.length() && raw.charAt(i) >= '0' && raw.charAt(i) <= '7';
              k++) {
            code = code * 8 + raw.charAt(i++) - '0';
          }
          out.append((char) code);
        }
        default -> out.append('\\').append(e);
      }
    }
    return out.toString();
  }

  private static int hex(String text, int from, int digits) {
    int value = 0;
    for (int i = from; i < from + digits; i++) {
      int digit = Character.digit(text.charAt(i), 16);
      if (digit < 0 || value > 0x10FFFF) {
        return -1;
      }
      value = value << 4 | digit;
    }
    return value;
  }
}

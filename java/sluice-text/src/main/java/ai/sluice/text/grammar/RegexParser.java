package ai.sluice.text.grammar;

import ai.sluice.api.InvalidRequestException;
import java.util.ArrayList;
import java.util.List;

/**
 * Reads a regular expression: the subset that docs/structured-output.md lists, in which Java and
 * ECMAScript agree. Where they differ about a set of characters, what both accept is meant.
 */
final class RegexParser {
  static final int MAX_COUNT = 10_000;
  private static final int MAX_GROUPS_NESTED = 100;

  private final String where;
  private final String text;
  private int at;
  private int nested;

  private RegexParser(String where, String text) {
    this.where = where;
    this.text = text;
  }

  /**
   * The form of a text that an expression matches whole.
   *
   * @param where names the expression in messages
   * @throws InvalidRequestException if it is malformed or uses what is not supported
   */
  static Form whole(String where, String text) {
    RegexParser parser = new RegexParser(where, text);
    return new RegexAnchors(where, false).resolve(parser.read());
  }

  /** The form of a text in which an expression matches somewhere, as JSON schema's patterns do. */
  static Form somewhere(String where, String text) {
    RegexParser parser = new RegexParser(where, text);
    return new RegexAnchors(where, true).resolve(parser.read());
  }

  private Form read() {
    Form form = readChoice();
    if (at < text.length()) {
      throw fail("')' at " + at + " closes nothing", "\\) for the character");
    }
    return form;
  }

  private Form readChoice() {
    List<Form> options = new ArrayList<>();
    options.add(readSequence());
    while (at < text.length() && text.charAt(at) == '|') {
      at++;
      options.add(readSequence());
    }
    return options.size() == 1 ? options.get(0) : new Form.Choice(options);
  }

  private Form readSequence() {
    List<Form> parts = new ArrayList<>();
    while (at < text.length() && text.charAt(at) != '|' && text.charAt(at) != ')') {
      parts.add(readRepeated());
    }
    return parts.size() == 1 ? parts.get(0) : new Form.Sequence(parts);
  }

  private Form readRepeated() {
    int begin = at;
    Form body = readAtom();
    if (at == text.length()) {
      return body;
    }
    int min;
    int max;
    switch (text.charAt(at)) {
      case '*' -> {
        min = 0;
        max = -1;
        at++;
      }
      case '+' -> {
        min = 1;
        max = -1;
        at++;
      }
      case '?' -> {
        min = 0;
        max = 1;
        at++;
      }
      case '{' -> {
        int open = at++;
        min = readCount(open);
        max = min;
        if (at < text.length() && text.charAt(at) == ',') {
          at++;
          max = at < text.length() && text.charAt(at) == '}' ? -1 : readCount(open);
        }
        if (at == text.length() || text.charAt(at) != '}' || max >= 0 && max < min) {
          throw fail("quantifier at " + open, "{m}, {m,} or {m,n} with m <= n; \\{ for a brace");
        }
        at++;
      }
      default -> {
        return body;
      }
    }
    if (body instanceof Form.Anchor) {
      throw fail("quantifier of an anchor at " + begin, "none");
    }
    if (at < text.length()) {
      char next = text.charAt(at);
      if (next == '?') {
        // Lazy: the same texts match.
        at++;
      } else if (next == '+') {
        throw fail("possessive quantifier at " + at, "a greedy one");
      } else if (next == '*' || next == '{') {
        throw fail("quantifier of a quantifier at " + at, "a group around the first");
      }
    }
    return new Form.Repeat(body, min, max);
  }

  private int readCount(int open) {
    int begin = at;
    long count = 0;
    while (at < text.length() && text.charAt(at) >= '0' && text.charAt(at) <= '9') {
      count = Math.min(count * 10 + text.charAt(at++) - '0', Integer.MAX_VALUE);
    }
    if (at == begin) {
      throw fail("quantifier at " + open, "{m}, {m,} or {m,n}; \\{ for a brace");
    }
    if (count > MAX_COUNT) {
      throw fail("count " + text.substring(begin, at) + " at " + begin, "at most " + MAX_COUNT);
    }
    return (int) count;
  }

  private Form readAtom() {
    int begin = at;
    int c = text.codePointAt(at);
    at += Character.charCount(c);
    return switch (c) {
      case '(' -> readGroup(begin);
      case '[' -> new Form.Chars(readClass(begin));
      case '.' -> new Form.Chars(RegexClasses.DOT);
      case '^' -> new Form.Anchor(true);
      case '$' -> new Form.Anchor(false);
      case '\\' -> new Form.Chars(readEscape(begin, false));
      case '*', '+', '?' -> throw fail("quantifier at " + begin + " of nothing", "\\" + (char) c);
      case '{' -> throw fail("'{' at " + begin, "\\{ for the character");
      default -> new Form.Chars(character(c, begin));
    };
  }

  private CodePoints character(int c, int begin) {
    if (c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE) {
      throw fail("half a surrogate pair at " + begin, "a character");
    }
    return CodePoints.of(c);
  }

  private Form readGroup(int begin) {
    if (++nested > MAX_GROUPS_NESTED) {
      throw fail("groups nested deeper than " + MAX_GROUPS_NESTED, "fewer");
    }
    if (at < text.length() && text.charAt(at) == '?') {
      readGroupKind(begin);
    }
    Form body = readChoice();
    if (at == text.length()) {
      throw fail("'(' at " + begin + " is not closed", "')', or \\( for the character");
    }
    at++;
    nested--;
    return body;
  }

  private void readGroupKind(int begin) {
    if (text.startsWith("?:", at)) {
      at += 2;
    } else if (text.startsWith("?=", at) || text.startsWith("?!", at)) {
      throw fail("lookahead at " + begin, "no lookaround; say it by alternatives");
    } else if (text.startsWith("?<=", at) || text.startsWith("?<!", at)) {
      throw fail("lookbehind at " + begin, "no lookaround; say it by alternatives");
    } else if (text.startsWith("?>", at)) {
      throw fail("atomic group at " + begin, "(?:...)");
    } else if (text.startsWith("?<", at)) {
      int end = text.indexOf('>', at);
      if (end < 0 || !text.substring(at + 2, end).matches("[A-Za-z][A-Za-z0-9]*")) {
        throw fail("group name at " + begin, "(?<name>...) of ASCII letters and digits");
      }
      at = end + 1;
    } else {
      throw fail("group of a kind not supported at " + begin, "(...), (?:...) or (?<name>...)");
    }
  }

  private CodePoints readClass(int begin) {
    boolean negated = at < text.length() && text.charAt(at) == '^';
    if (negated) {
      at++;
    }
    CodePoints set = CodePoints.NONE;
    boolean first = true;
    while (true) {
      if (at == text.length()) {
        throw fail("'[' at " + begin + " is not closed", "']', or \\[ for the character");
      }
      char c = text.charAt(at);
      if (c == ']') {
        if (first) {
          throw fail("empty class at " + begin, "a character in it; \\] for a bracket");
        }
        at++;
        break;
      }
      if (c == '[') {
        throw fail("'[' in a class at " + at, "\\[ for the character; no class within a class");
      }
      if (text.startsWith("&&", at)) {
        throw fail("'&&' in a class at " + at, "&\\& for the characters; no intersection");
      }
      set = set.or(readClassPart(negated));
      first = false;
    }
    set = negated ? set.not() : set;
    if (set.isEmpty()) {
      throw fail("class at " + begin + " has no character", "at least one");
    }
    return set;
  }

  private CodePoints readClassPart(boolean negated) {
    int begin = at;
    CodePoints low = readClassCharacter(negated);
    boolean range =
        at + 1 < text.length() && text.charAt(at) == '-' && text.charAt(at + 1) != ']';
    if (!range) {
      return low;
    }
    at++;
    if (text.charAt(at) == '[') {
      throw fail("'[' in a class at " + at, "\\[ for the character; no class within a class");
    }
    CodePoints high = readClassCharacter(negated);
    if (!isOne(low) || !isOne(high) || low.first(0) > high.first(0)) {
      throw fail("range at " + begin, "two characters in order; \\- for the character");
    }
    return CodePoints.of(low.first(0), high.first(0));
  }

  private static boolean isOne(CodePoints set) {
    return set.ranges() == 1 && set.first(0) == set.last(0);
  }

  private CodePoints readClassCharacter(boolean negated) {
    int begin = at;
    int c = text.codePointAt(at);
    at += Character.charCount(c);
    return c == '\\' ? readEscape(begin, negated) : character(c, begin);
  }

  private CodePoints readEscape(int begin, boolean negated) {
    if (at == text.length()) {
      throw fail("'\\' at the end", "\\\\ for the character");
    }
    char c = text.charAt(at++);
    switch (c) {
      case 'd':
        return RegexClasses.DIGITS;
      case 'D':
        return RegexClasses.DIGITS.not();
      case 'w':
        return RegexClasses.WORD;
      case 'W':
        return RegexClasses.WORD.not();
      case 's':
        // In a negated class what either takes for a space is out.
        return negated ? RegexClasses.ANY_SPACE : RegexClasses.SPACE;
      case 'S':
        return negated ? RegexClasses.SPACE.not() : RegexClasses.ANY_SPACE.not();
      case 't':
        return CodePoints.of('\t');
      case 'n':
        return CodePoints.of('\n');
      case 'r':
        return CodePoints.of('\r');
      case 'f':
        return CodePoints.of('\f');
      case 'x':
        return character(readHex(begin, 2), begin);
      case 'u':
        return readUnicode(begin);
      case 'p', 'P':
        return RegexClasses.category(readCategory(begin), c == 'P');
      case 'b', 'B', 'A', 'z', 'Z', 'G':
        throw fail("boundary \\" + c + " at " + begin, "none; ^ and $ at the ends");
      case 'k':
        throw fail("backreference at " + begin, "none");
      default:
        if (c >= '1' && c <= '9') {
          throw fail("backreference at " + begin, "none");
        }
        if (c < 0x80 && !Character.isLetterOrDigit(c)) {
          return CodePoints.of(c);
        }
        throw fail("escape \\" + c + " at " + begin, "a character without the backslash");
    }
  }

  private int readHex(int begin, int digits) {
    int value = 0;
    for (int i = 0; i < digits; i++) {
      int digit = at < text.length() ? Character.digit(text.charAt(at), 16) : -1;
      if (digit < 0 || text.charAt(at) >= 0x80) {
        throw fail("escape at " + begin, digits + " hexadecimal digits");
      }
      value = value << 4 | digit;
      at++;
    }
    return value;
  }

  private CodePoints readUnicode(int begin) {
    int c = readHex(begin, 4);
    if (Character.isHighSurrogate((char) c) && text.startsWith("\\u", at)) {
      at += 2;
      int low = readHex(begin, 4);
      if (Character.isLowSurrogate((char) low)) {
        return CodePoints.of(Character.toCodePoint((char) c, (char) low));
      }
    }
    return character(c, begin);
  }

  private String readCategory(int begin) {
    int end = text.indexOf('}', at);
    if (at == text.length() || text.charAt(at) != '{' || end < 0) {
      throw fail("category at " + begin, "\\p{L} and the like");
    }
    String name = text.substring(at + 1, end);
    if (!RegexClasses.isCategory(name)) {
      throw fail("category " + name + " at " + begin, "a general category such as L, Lu or N");
    }
    at = end + 1;
    return name;
  }

  private InvalidRequestException fail(String what, String expected) {
    return new InvalidRequestException(where + ": " + what + " (expected: " + expected + ")");
  }
}

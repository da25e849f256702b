package ai.sluice.text.jinja;

import ai.sluice.text.jinja.Token.Kind;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;

/**
 * Cuts a template into tokens with the white-space rules of Hugging Face's environment: the newline
 * after a block tag is dropped (trim_blocks), so are blanks between the start of a line and a block
 * tag (lstrip_blocks); {@code -} next to a delimiter drops all white space on that side, {@code +}
 * keeps it.
 */
final class Lexer {
  private static final List<String> OPERATORS =
      List.of(
          "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{",
          "}", ">", "<", "=", ".", ":", "|", ",", ";");

  private final String source;
  private final List<Token> tokens = new ArrayList<>();
  private int position;
  private int line = 1;

  private Lexer(String source) {
    this.source = source;
  }

  /** The tokens of a source, closed by one of kind END. */
  static List<Token> tokenize(String source) {
    String unified = source.replace("\r\n", "\n").replace('\r', '\n');
    // The last newline of a file is no part of the template.
    if (unified.endsWith("\n")) {
      unified = unified.substring(0, unified.length() - 1);
    }
    Lexer lexer = new Lexer(unified);
    lexer.run();
    return lexer.tokens;
  }

  private void run() {
    boolean atLineStart = true;
    while (position < source.length()) {
      int open = nextOpening();
      if (open < 0) {
        add(Kind.DATA, source.substring(position));
        advance(source.length());
        break;
      }
      char type = source.charAt(open + 1);
      char sign = open + 2 < source.length() ? source.charAt(open + 2) : ' ';
      boolean signed = sign == '-' || sign == '+';
      String text = source.substring(position, open);
      if (sign == '-') {
        text = PyStrings.stripRight(text);
      } else if (sign != '+' && type != '{') {
        int lineStart = text.lastIndexOf('\n') + 1;
        if ((lineStart > 0 || atLineStart) && isBlank(text, lineStart)) {
          text = text.substring(0, lineStart);
        }
      }
      if (!text.isEmpty()) {
        add(Kind.DATA, text);
      }
      advance(open + (signed ? 3 : 2));
      switch (type) {
        case '#' -> comment();
        case '{' -> inside(Kind.OUTPUT_BEGIN, Kind.OUTPUT_END, '}');
        default -> {
          if (!raw()) {
            inside(Kind.BLOCK_BEGIN, Kind.BLOCK_END, '%');
          }
        }
      }
      atLineStart = position > 0 && source.charAt(position - 1) == '\n';
    }
    add(Kind.END, "");
  }

  private int nextOpening() {
    for (int i = source.indexOf('{', position); i >= 0; i = source.indexOf('{', i + 1)) {
      if (i + 1 < source.length() && "{%#".indexOf(source.charAt(i + 1)) >= 0) {
        return i;
      }
    }
    return -1;
  }

  private static boolean isBlank(String text, int from) {
    for (int i = from; i < text.length(); i++) {
      if (!PyStrings.isSpace(text.charAt(i))) {
        return false;
      }
    }
    return from < text.length();
  }

  private void comment() {
    int end = source.indexOf("#}", position);
    if (end < 0) {
      throw failure("a comment without its '#}'");
    }
    // The sign before the end may belong to the comment's own text only if nothing precedes it.
    char before = end > position ? source.charAt(end - 1) : ' ';
    advance(end + 2);
    afterTag(before, true);
  }

  /** White space after a closing delimiter, by the sign before it. */
  private void afterTag(char sign, boolean trimNewline) {
    if (sign == '-') {
      int end = position;
      while (end < source.length() && PyStrings.isSpace(source.charAt(end))) {
        end++;
      }
      advance(end);
    } else if (sign != '+' && trimNewline && source.startsWith("\n", position)) {
      advance(position + 1);
    }
  }

  /** Reads a raw block if one begins here. */
  private boolean raw() {
    int i = skipSpaces(position);
    if (!source.startsWith("raw", i)) {
      return false;
    }
    i = skipSpaces(i + 3);
    boolean trimmed = source.startsWith("-%}", i);
    if (!trimmed && !source.startsWith("%}", i)) {
      return false;
    }
    advance(i + (trimmed ? 3 : 2));
    if (trimmed) {
      afterTag('-', false);
    }
    boolean atLineStart = position > 0 && source.charAt(position - 1) == '\n';
    for (int open = source.indexOf("{%", position);
        open >= 0;
        open = source.indexOf("{%", open + 2)) {
      int j = open + 2;
      char startSign = j < source.length() ? source.charAt(j) : ' ';
      j = skipSpaces(startSign == '-' || startSign == '+' ? j + 1 : j);
      if (!source.startsWith("endraw", j)) {
        continue;
      }
      j = skipSpaces(j + 6);
      char endSign = j < source.length() ? source.charAt(j) : ' ';
      boolean signed = endSign == '-' || endSign == '+';
      if (!source.startsWith("%}", signed ? j + 1 : j)) {
        continue;
      }
      String text = source.substring(position, open);
      if (startSign == '-') {
        text = PyStrings.stripRight(text);
      } else if (startSign != '+') {
        int lineStart = text.lastIndexOf('\n') + 1;
        if ((lineStart > 0 || atLineStart) && isBlank(text, lineStart)) {
          text = text.substring(0, lineStart);
        }
      }
      add(Kind.DATA, text);
      advance((signed ? j + 1 : j) + 2);
      afterTag(signed ? endSign : ' ', true);
      return true;
    }
    throw failure("a raw block without its endraw");
  }

  private int skipSpaces(int from) {
    int i = from;
    while (i < source.length() && PyStrings.isSpace(source.charAt(i))) {
      i++;
    }
    return i;
  }

  private void inside(Kind begin, Kind end, char closing) {
    add(begin, "");
    Deque<Character> open = new ArrayDeque<>();
    while (true) {
      advance(skipSpaces(position));
      if (position >= source.length()) {
        throw failure("a tag without its '" + closing + "}'");
      }
      char c = source.charAt(position);
      if (open.isEmpty() && closes(end, closing, c)) {
        return;
      }
      if (c == '"' || c == '\'') {
        string(c);
      } else if (c >= '0' && c <= '9') {
        number();
      } else if (Character.isUnicodeIdentifierStart(source.codePointAt(position)) || c == '_') {
        name();
      } else {
        operator(open);
      }
    }
  }

  /** Ends the tag if its closing delimiter is here. */
  private boolean closes(Kind end, char closing, char c) {
    boolean signed = c == '-' || c == '+' && end == Kind.BLOCK_END;
    int at = signed ? position + 1 : position;
    if (at + 1 >= source.length() || source.charAt(at) != closing || source.charAt(at + 1) != '}') {
      return false;
    }
    add(end, "");
    advance(at + 2);
    afterTag(signed ? c : ' ', end == Kind.BLOCK_END);
    return true;
  }

  private void string(char quote) {
    int i = position + 1;
    while (i < source.length() && source.charAt(i) != quote) {
      i += source.charAt(i) == '\\' ? 2 : 1;
    }
    if (i >= source.length()) {
      throw failure("a string without its closing quote");
    }
    add(Kind.STRING, PyStrings.unescape(source.substring(position + 1, i), line));
    advance(i + 1);
  }

  private void number() {
    int i = position;
    if (source.charAt(i) == '0'
        && i + 1 < source.length()
        && "xXoObB".indexOf(source.charAt(i + 1)) >= 0) {
      i += 2;
      while (i < source.length() && Character.isLetterOrDigit(source.charAt(i))) {
        i++;
      }
      add(Kind.INTEGER, source.substring(position, i));
      advance(i);
      return;
    }
    i = digits(i);
    boolean isFloat = false;
    // After a dot, digits are an index: x.0.1 has no number 0.1 in it.
    boolean isIndex = position > 0 && source.charAt(position - 1) == '.';
    if (isIndex) {
      add(Kind.INTEGER, source.substring(position, i).replace("_", ""));
      advance(i);
      return;
    }
    if (i + 1 < source.length() && source.charAt(i) == '.' && isDigit(source.charAt(i + 1))) {
      isFloat = true;
      i = digits(i + 1);
    }
    if (i < source.length() && (source.charAt(i) == 'e' || source.charAt(i) == 'E')) {
      int j = i + 1;
      if (j < source.length() && (source.charAt(j) == '+' || source.charAt(j) == '-')) {
        j++;
      }
      if (j < source.length() && isDigit(source.charAt(j))) {
        isFloat = true;
        i = digits(j);
      }
    }
    add(isFloat ? Kind.FLOAT : Kind.INTEGER, source.substring(position, i).replace("_", ""));
    advance(i);
  }

  private int digits(int from) {
    int i = from;
    while (i < source.length() && (isDigit(source.charAt(i)) || source.charAt(i) == '_')) {
      i++;
    }
    return i;
  }

  private static boolean isDigit(char c) {
    return c >= '0' && c <= '9';
  }

  private void name() {
    int i = position;
    while (i < source.length()
        && (Character.isUnicodeIdentifierPart(source.codePointAt(i)) || source.charAt(i) == '_')) {
      i += Character.charCount(source.codePointAt(i));
    }
    add(Kind.NAME, source.substring(position, i));
    advance(i);
  }

  private void operator(Deque<Character> open) {
    for (String operator : OPERATORS) {
      if (source.startsWith(operator, position)) {
        switch (operator) {
          case "(" -> open.push(')');
          case "[" -> open.push(']');
          case "{" -> open.push('}');
          case ")", "]", "}" -> {
            if (open.isEmpty() || open.pop() != operator.charAt(0)) {
              throw failure("unexpected '" + operator + "'");
            }
          }
          default -> {}
        }
        add(Kind.OPERATOR, operator);
        advance(position + operator.length());
        return;
      }
    }
    throw failure("unexpected character '" + source.charAt(position) + "'");
  }

  private void add(Kind kind, String text) {
    tokens.add(new Token(kind, text, line));
  }

  private void advance(int to) {
    for (int i = position; i < to; i++) {
      if (source.charAt(i) == '\n') {
        line++;
      }
    }
    position = to;
  }

  private TemplateSyntaxException failure(String problem) {
    return new TemplateSyntaxException(problem, line);
  }
}

package ai.sluice.text;

import ai.sluice.api.CheckpointFormatException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * A forward scanner over the bytes of a JSON document, for files of which a little is wanted and
 * megabytes are skipped. A general parser spends most of a second on such a file in a fresh JVM,
 * before its code is compiled; these few loops do not. It checks what it needs for its own way and
 * leaves the full syntax to the reader that takes the whole document.
 */
final class JsonScanner {
  private static final Pattern NUMBER =
      Pattern.compile("-?(0|[1-9]\\d*)(\\.\\d+)?([eE][+-]?\\d{1,2})?");

  private final byte[] bytes;
  private final @Nullable Path file;
  private int position;

  JsonScanner(byte[] bytes, @Nullable Path file) {
    this.bytes = bytes;
    this.file = file;
  }

  /** The offset of the next byte. */
  int position() {
    return position;
  }

  /** The next byte that is no white space, not consumed; -1 at the end. */
  int peek() {
    while (position < bytes.length
        && (bytes[position] == ' '
            || bytes[position] == '\n'
            || bytes[position] == '\r'
            || bytes[position] == '\t')) {
      position++;
    }
    return position < bytes.length ? bytes[position] : -1;
  }

  /** Consumes one sign. */
  void expect(char sign) {
    if (peek() != sign) {
      throw failure("'" + sign + "' expected");
    }
    position++;
  }

  /** Consumes a sign if it comes next. */
  boolean skip(char sign) {
    if (peek() != sign) {
      return false;
    }
    position++;
    return true;
  }

  /**
   * Whether an element of an object or array follows; consumes the comma before it or the sign that
   * closes the whole.
   *
   * @param first whether no element was read yet
   * @param close {@code ']'} or {@code '}'}
   */
  boolean hasNext(boolean first, char close) {
    if (skip(close)) {
      return false;
    }
    if (!first) {
      expect(',');
    }
    return true;
  }

  /** Consumes a string with the colon after it. */
  String key() {
    String key = string();
    expect(':');
    return key;
  }

  /** Consumes a string. */
  String string() {
    peek();
    int start = position + 1;
    boolean escaped = skipString();
    String raw = new String(bytes, start, position - 1 - start, StandardCharsets.UTF_8);
    return escaped ? unescape(raw) : raw;
  }

  /** Consumes the end of the document. */
  void end() {
    if (peek() != -1) {
      throw failure("more after the end");
    }
  }

  /** Consumes a number. */
  void number() {
    int next = peek();
    if (next != '-' && (next < '0' || next > '9')) {
      throw failure("number expected");
    }
    int start = position;
    skipWord();
    String text = new String(bytes, start, position - start, StandardCharsets.UTF_8);
    if (text.length() > 64 || !NUMBER.matcher(text).matches()) {
      throw failure("malformed number");
    }
  }

  private String unescape(String raw) {
    StringBuilder out = new StringBuilder(raw.length());
    for (int i = 0; i < raw.length(); i++) {
      char c = raw.charAt(i);
      if (c != '\\') {
        out.append(c);
        continue;
      }
      i++;
      switch (raw.charAt(i)) {
        case 'n' -> out.append('\n');
        case 't' -> out.append('\t');
        case 'r' -> out.append('\r');
        case 'b' -> out.append('\b');
        case 'f' -> out.append('\f');
        case 'u' -> {
          out.append((char) Integer.parseInt(raw, i + 1, i + 5, 16));
          i += 4;
        }
        default -> out.append(raw.charAt(i));
      }
    }
    return out.toString();
  }

  /** Consumes an integer of at most nine digits. */
  int integer() {
    peek();
    int start = position;
    int value = 0;
    while (position < bytes.length && bytes[position] >= '0' && bytes[position] <= '9') {
      value = value * 10 + bytes[position++] - '0';
      if (position - start > 9) {
        throw failure("integer of more than nine digits");
      }
    }
    if (position == start || (bytes[start] == '0' && position - start > 1)) {
      throw failure("integer expected");
    }
    return value;
  }

  /** Consumes any value; brackets need only be as many closed as open. */
  void skipValue() {
    int depth = 0;
    do {
      int next = peek();
      switch (next) {
        case -1 -> throw failure("value without an end");
        case '"' -> skipString();
        case '{', '[' -> {
          depth++;
          position++;
        }
        case '}', ']' -> {
          depth--;
          position++;
        }
        case ',', ':' -> position++;
        default -> skipWord();
      }
    } while (depth > 0);
    if (depth < 0) {
      throw failure("value expected");
    }
  }

  /**
   * Consumes a string without making one, checking its escapes.
   *
   * @return whether it has any
   */
  boolean skipString() {
    if (peek() != '"') {
      throw failure("string expected");
    }
    byte[] b = bytes;
    int i = position + 1;
    boolean escaped = false;
    while (i < b.length && b[i] != '"') {
      if (b[i] == '\\') {
        escaped = true;
        i = escape(i + 1);
      } else if (b[i] >= 0 && b[i] < ' ') {
        throw failure("control character in a string");
      } else {
        i++;
      }
    }
    if (i >= b.length) {
      throw failure("string without an end");
    }
    position = i + 1;
    return escaped;
  }

  /** Checks what follows a backslash; the index after it. */
  private int escape(int at) {
    if (at < bytes.length && "\"\\/bfnrt".indexOf(bytes[at]) >= 0) {
      return at + 1;
    }
    int unit = unicode(at);
    if (Character.isLowSurrogate((char) unit)) {
      throw failure("lone surrogate in a string");
    }
    if (!Character.isHighSurrogate((char) unit)) {
      return at + 5;
    }
    if (at + 5 >= bytes.length
        || bytes[at + 5] != '\\'
        || !Character.isLowSurrogate((char) unicode(at + 6))) {
      throw failure("lone surrogate in a string");
    }
    return at + 11;
  }

  /** The unit of the escape whose u is at an index. */
  private int unicode(int at) {
    if (at + 4 >= bytes.length || bytes[at] != 'u') {
      throw failure("unknown escape in a string");
    }
    int unit = 0;
    for (int i = at + 1; i <= at + 4; i++) {
      int digit = Character.digit(bytes[i], 16);
      if (digit < 0) {
        throw failure("malformed \\u escape in a string");
      }
      unit = unit << 4 | digit;
    }
    return unit;
  }

  private void skipWord() {
    if (bytes[position] >= 0 && bytes[position] <= ' ') {
      throw failure("control character");
    }
    while (position < bytes.length) {
      byte b = bytes[position];
      if (b == ',' || b == '}' || b == ']' || b == ':' || b == '"' || (b <= ' ' && b >= 0)) {
        return;
      }
      position++;
    }
  }

  private CheckpointFormatException failure(String problem) {
    return new CheckpointFormatException(
        file,
        null,
        "not valid JSON: " + problem + " at byte " + position + " (expected: a tokenizer.json)");
  }
}

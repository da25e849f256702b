package ai.sluice.text;

import ai.sluice.api.CheckpointFormatException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * A forward scanner over the bytes of a JSON document, for files of which a little is wanted and
 * megabytes are skipped. A general parser spends most of a second on such a file in a fresh JVM,
 * before its code is compiled; these few loops do not. It checks what it needs for its own way and
 * leaves the full syntax to the reader that takes the whole document.
 */
final class JsonScanner {
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
    int start = begin();
    boolean escaped = false;
    while (position < bytes.length && bytes[position] != '"') {
      if (bytes[position] == '\\') {
        escaped = true;
        position++;
      }
      position++;
    }
    if (position >= bytes.length) {
      throw failure("string without an end");
    }
    int end = position++;
    String raw = new String(bytes, start, end - start, StandardCharsets.UTF_8);
    return escaped ? unescape(raw) : raw;
  }

  private int begin() {
    if (peek() != '"') {
      throw failure("string expected");
    }
    return ++position;
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
          if (i + 4 >= raw.length()) {
            throw failure("unfinished \\u escape");
          }
          int unit = 0;
          for (int k = 1; k <= 4; k++) {
            int digit = Character.digit(raw.charAt(i + k), 16);
            if (digit < 0) {
              throw failure("malformed \\u escape");
            }
            unit = unit << 4 | digit;
          }
          out.append((char) unit);
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
    if (position == start) {
      throw failure("integer expected");
    }
    return value;
  }

  /** Consumes any value. */
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

  private void skipString() {
    int i = position + 1;
    byte[] b = bytes;
    while (i < b.length && b[i] != '"') {
      i += b[i] == '\\' ? 2 : 1;
    }
    if (i >= b.length) {
      throw failure("string without an end");
    }
    position = i + 1;
  }

  private void skipWord() {
    while (position < bytes.length) {
      byte b = bytes[position];
      if (b == ',' || b == '}' || b == ']' || b == ':' || b == '"' || b <= ' ' && b >= 0) {
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

package ai.sluice.text.grammar;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The bytes that spell one character of a set, as a small automaton from place 0 to place 1 whose
 * edges are ranges of bytes. Endings that are alike are shared: any character takes seven places.
 */
final class CharSpelling {
  private static final int FROM = 0;
  private static final int TO = 1;

  /** Characters that a JSON string spells with an escape. */
  private static final CodePoints ESCAPED = CodePoints.of(0, 0x1F).or(CodePoints.of("\"\\"));

  /** from, first byte, last byte, to of each edge. */
  final List<int[]> edges = new ArrayList<>();

  private final Map<List<Integer>, Integer> places = new HashMap<>();
  private int size = 2;

  private CharSpelling() {}

  /** Places, with the two at the ends. */
  int size() {
    return size;
  }

  /** UTF-8. */
  static CharSpelling plain(CodePoints set) {
    CharSpelling spelling = new CharSpelling();
    spelling.addUtf8(set);
    return spelling;
  }

  /** As within a JSON string: UTF-8, or an escape where one is due. */
  static CharSpelling json(CodePoints set) {
    CharSpelling spelling = new CharSpelling();
    spelling.addUtf8(set.without(ESCAPED));
    for (int c = 0; c < 128; c++) {
      if (set.has(c) && ESCAPED.has(c)) {
        byte[] escape = jsonEscape(c).getBytes(StandardCharsets.US_ASCII);
        int[] sequence = new int[2 * escape.length];
        for (int i = 0; i < escape.length; i++) {
          sequence[2 * i] = escape[i];
          sequence[2 * i + 1] = escape[i];
        }
        spelling.add(sequence);
      }
    }
    return spelling;
  }

  /** A character within a JSON string, in its shortest spelling. */
  static String jsonEscape(int codePoint) {
    return switch (codePoint) {
      case '"' -> "\\\"";
      case '\\' -> "\\\\";
      case '\b' -> "\\b";
      case '\f' -> "\\f";
      case '\n' -> "\\n";
      case '\r' -> "\\r";
      case '\t' -> "\\t";
      default ->
          codePoint < 0x20
              ? String.format("\\u%04x", codePoint)
              : Character.toString(codePoint);
    };
  }

  private void addUtf8(CodePoints set) {
    for (int i = 0; i < set.ranges(); i++) {
      int first = set.first(i);
      for (int limit : new int[] {0x7F, 0x7FF, 0xFFFF, 0x10FFFF}) {
        if (first <= limit && first <= set.last(i)) {
          split(first, Math.min(limit, set.last(i)));
          first = limit + 1;
        }
      }
    }
  }

  /** Splits a range of characters of one length until each byte has a range of its own. */
  private void split(int first, int last) {
    for (int bits = 6; bits < 21 && last > 0x7F; bits += 6) {
      int low = (1 << bits) - 1;
      if ((first & ~low) != (last & ~low)) {
        if ((first & low) != 0) {
          split(first, first | low);
          split((first | low) + 1, last);
          return;
        }
        if ((last & low) != low) {
          split(first, (last & ~low) - 1);
          split(last & ~low, last);
          return;
        }
      }
    }
    byte[] a = Character.toString(first).getBytes(StandardCharsets.UTF_8);
    byte[] b = Character.toString(last).getBytes(StandardCharsets.UTF_8);
    int[] sequence = new int[2 * a.length];
    for (int i = 0; i < a.length; i++) {
      sequence[2 * i] = a[i] & 0xFF;
      sequence[2 * i + 1] = b[i] & 0xFF;
    }
    add(sequence);
  }

  private void add(int[] sequence) {
    int to = TO;
    for (int i = sequence.length - 2; i > 0; i -= 2) {
      List<Integer> ending = Arrays.stream(sequence, i, sequence.length).boxed().toList();
      Integer place = places.get(ending);
      if (place == null) {
        place = size++;
        places.put(ending, place);
        edges.add(new int[] {place, sequence[i], sequence[i + 1], to});
      }
      to = place;
    }
    edges.add(new int[] {FROM, sequence[0], sequence[1], to});
  }
}

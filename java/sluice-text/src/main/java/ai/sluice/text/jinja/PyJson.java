package ai.sluice.text.jinja;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The tojson filter as Hugging Face's environment defines it: Python's json.dumps without escaping
 * of HTML or of characters outside ASCII.
 */
final class PyJson {
  private final Interpreter in;
  private final boolean ascii;
  private final @Nullable String indent;
  private final String itemSeparator;
  private final String keySeparator;
  private final boolean sortKeys;
  private final StringBuilder out = new StringBuilder();

  private PyJson(
      Interpreter in,
      boolean ascii,
      @Nullable String indent,
      String itemSeparator,
      String keySeparator,
      boolean sortKeys) {
    this.in = in;
    this.ascii = ascii;
    this.indent = indent;
    this.itemSeparator = itemSeparator;
    this.keySeparator = keySeparator;
    this.sortKeys = sortKeys;
  }

  /** The compact form that json.dumps gives without options. */
  static String write(Interpreter in, @Nullable Object value) {
    PyJson json = new PyJson(in, false, null, ", ", ": ", false);
    json.value(value, 0);
    return json.out.toString();
  }

  /** The filter: tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False). */
  static String filter(Interpreter in, @Nullable Object value, Args args) {
    boolean ascii = args.truth(0, "ensure_ascii", false);
    Object indent = args.get(1, "indent", null);
    Object separators = args.get(2, "separators", null);
    boolean sortKeys = args.truth(3, "sort_keys", false);
    args.end("tojson");
    String unit =
        indent == null
            ? null
            : indent instanceof String s ? s : " ".repeat((int) clamp(Values.toIndex(indent)));
    String item = unit == null ? ", " : ",";
    String key = ": ";
    if (separators != null) {
      if (!(separators instanceof List<?> pair)
          || pair.size() != 2
          || !(pair.get(0) instanceof String first)
          || !(pair.get(1) instanceof String second)) {
        throw TemplateRuntimeException.type("separators must be a tuple of two strings");
      }
      item = first;
      key = second;
    }
    PyJson json = new PyJson(in, ascii, unit, item, key, sortKeys);
    json.value(value, 0);
    return json.out.toString();
  }

  private static long clamp(long indent) {
    if (indent > 1000) {
      throw TemplateRuntimeException.limit("tojson indent " + indent + " (expected: at most 1000)");
    }
    return Math.max(0, indent);
  }

  private void value(@Nullable Object value, int level) {
    in.nested(level);
    in.chars(8);
    if (value == null) {
      out.append("null");
    } else if (value instanceof Boolean || value instanceof Long) {
      out.append(value);
    } else if (value instanceof String s) {
      string(s);
    } else if (value instanceof Double d) {
      out.append(number(d));
    } else if (value instanceof Map<?, ?> m) {
      object(m, level);
    } else if (value instanceof List<?> l && !(value instanceof PyRange)) {
      array(l, level);
    } else if (value instanceof Number) {
      out.append(value);
    } else {
      throw TemplateRuntimeException.type(
          "Object of type " + Values.typeName(value) + " is not JSON serializable");
    }
  }

  private static String number(double value) {
    if (Double.isNaN(value)) {
      return "NaN";
    } else if (Double.isInfinite(value)) {
      return value > 0 ? "Infinity" : "-Infinity";
    }
    return PyText.number(value);
  }

  private void array(List<?> list, int level) {
    out.append('[');
    boolean first = true;
    for (Object element : list) {
      separate(first, level + 1);
      first = false;
      value(element, level + 1);
    }
    close(first, level, ']');
  }

  private void object(Map<?, ?> map, int level) {
    out.append('{');
    List<Map.Entry<?, ?>> entries = new ArrayList<>(map.entrySet());
    if (sortKeys) {
      entries.sort((a, b) -> Values.order(in, a.getKey(), b.getKey()));
    }
    boolean first = true;
    for (Map.Entry<?, ?> entry : entries) {
      separate(first, level + 1);
      first = false;
      string(key(entry.getKey()));
      out.append(keySeparator);
      value(entry.getValue(), level + 1);
    }
    close(first, level, '}');
  }

  private static String key(@Nullable Object key) {
    if (key instanceof String s) {
      return s;
    } else if (key == null) {
      return "null";
    } else if (key instanceof Boolean || key instanceof Long) {
      return key.toString();
    } else if (key instanceof Double d) {
      return number(d);
    }
    throw TemplateRuntimeException.type(
        "keys must be str, int, float, bool or None, not " + Values.typeName(key));
  }

  private void separate(boolean first, int level) {
    if (!first) {
      out.append(itemSeparator);
    }
    newline(level);
  }

  private void close(boolean empty, int level, char sign) {
    if (!empty) {
      newline(level);
    }
    out.append(sign);
  }

  private void newline(int level) {
    if (indent != null) {
      in.chars(1 + (long) indent.length() * level);
      out.append('\n').append(indent.repeat(level));
    }
  }

  private void string(String text) {
    in.chars(text.length());
    out.append('"');
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      switch (c) {
        case '"' -> out.append("\\\"");
        case '\\' -> out.append("\\\\");
        case '\n' -> out.append("\\n");
        case '\r' -> out.append("\\r");
        case '\t' -> out.append("\\t");
        case '\f' -> out.append("\\f");
        case '\b' -> out.append("\\b");
        default -> {
          if (c < 0x20 || ascii && c > 0x7E) {
            out.append(String.format("\\u%04x", (int) c));
          } else {
            out.append(c);
          }
        }
      }
    }
    out.append('"');
  }
}

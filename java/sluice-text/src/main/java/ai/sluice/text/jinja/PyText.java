package ai.sluice.text.jinja;

import java.math.BigDecimal;
import java.math.MathContext;
import java.math.RoundingMode;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** How values print: Python's str and repr. */
final class PyText {
  private PyText() {}

  /** Python's str. */
  static String str(Interpreter in, @Nullable Object value) {
    if (value instanceof String s) {
      return s;
    } else if (value instanceof Undefined) {
      return "";
    } else if (value instanceof Long n) {
      return n.toString();
    }
    StringBuilder out = new StringBuilder();
    repr(in, value, out, 0);
    return out.toString();
  }

  /** Python's repr. */
  static String repr(Interpreter in, @Nullable Object value) {
    StringBuilder out = new StringBuilder();
    repr(in, value, out, 0);
    return out.toString();
  }

  private static void repr(Interpreter in, @Nullable Object value, StringBuilder out, int level) {
    in.nested(level);
    int before = out.length();
    if (value == null) {
      out.append("None");
    } else if (value instanceof Boolean b) {
      out.append(b ? "True" : "False");
    } else if (value instanceof String s) {
      in.chars(s.length());
      quoted(s, out);
    } else if (value instanceof Double d) {
      out.append(number(d));
    } else if (value instanceof PyTuple t) {
      elements(in, "(", t, t.size() == 1 ? ",)" : ")", out, level);
    } else if (value instanceof PyRange r) {
      out.append(r.repr());
    } else if (value instanceof List<?> l) {
      elements(in, "[", l, "]", out, level);
    } else if (value instanceof Map<?, ?> m) {
      dict(in, m, out, level);
    } else if (value instanceof DictView v) {
      elements(in, v.kind() + "([", v.elements(), "])", out, level);
    } else if (value instanceof Undefined) {
      out.append("Undefined");
    } else if (value instanceof Namespace n) {
      out.append("<Namespace ");
      dict(in, n.attributes(), out, level);
      out.append('>');
    } else if (value instanceof Number) {
      out.append(value);
    } else {
      out.append('<').append(Values.typeName(value)).append(" object>");
    }
    in.chars(Math.min(64, out.length() - before));
  }

  private static void elements(
      Interpreter in, String open, List<?> list, String close, StringBuilder out, int level) {
    out.append(open);
    String separator = "";
    for (Object element : list) {
      out.append(separator);
      separator = ", ";
      repr(in, element, out, level + 1);
    }
    out.append(close);
  }

  private static void dict(Interpreter in, Map<?, ?> map, StringBuilder out, int level) {
    out.append('{');
    Iterator<? extends Map.Entry<?, ?>> entries = map.entrySet().iterator();
    while (entries.hasNext()) {
      Map.Entry<?, ?> entry = entries.next();
      repr(in, entry.getKey(), out, level + 1);
      out.append(": ");
      repr(in, entry.getValue(), out, level + 1);
      if (entries.hasNext()) {
        out.append(", ");
      }
    }
    out.append('}');
  }

  private static void quoted(String text, StringBuilder out) {
    char quote = text.indexOf('\'') >= 0 && text.indexOf('"') < 0 ? '"' : '\'';
    out.append(quote);
    text.codePoints()
        .forEach(
            c -> {
              if (c == quote || c == '\\') {
                out.append('\\').append((char) c);
              } else if (c == '\n') {
                out.append("\\n");
              } else if (c == '\r') {
                out.append("\\r");
              } else if (c == '\t') {
                out.append("\\t");
              } else if (isPrintable(c)) {
                out.appendCodePoint(c);
              } else if (c < 0x100) {
                out.append(String.format("\\x%02x", c));
              } else if (c < 0x10000) {
                out.append(String.format("\\u%04x", c));
              } else {
                out.append(String.format("\\U%08x", c));
              }
            });
    out.append(quote);
  }

  private static boolean isPrintable(int c) {
    if (c < 0x7F) {
      return c >= 0x20;
    }
    return switch (Character.getType(c)) {
      case Character.CONTROL,
          Character.FORMAT,
          Character.SURROGATE,
          Character.PRIVATE_USE,
          Character.UNASSIGNED,
          Character.LINE_SEPARATOR,
          Character.PARAGRAPH_SEPARATOR,
          Character.SPACE_SEPARATOR ->
          false;
      default -> true;
    };
  }

  /** A float as Python prints it: the fewest digits that read back as the same number. */
  static String number(double value) {
    if (Double.isNaN(value)) {
      return "nan";
    } else if (Double.isInfinite(value)) {
      return value > 0 ? "inf" : "-inf";
    } else if (value == 0) {
      return 1 / value < 0 ? "-0.0" : "0.0";
    }
    // Double.toString gives more digits than needed before JDK 19.
    BigDecimal exact = new BigDecimal(value);
    BigDecimal shortest = exact;
    for (int digits = 1; digits <= 17; digits++) {
      shortest = exact.round(new MathContext(digits, RoundingMode.HALF_EVEN));
      if (shortest.doubleValue() == value) {
        break;
      }
    }
    shortest = shortest.stripTrailingZeros();
    String digits = shortest.unscaledValue().abs().toString();
    int exponent = digits.length() - shortest.scale() - 1;
    String sign = value < 0 ? "-" : "";
    if (exponent >= -4 && exponent < 16) {
      String plain = shortest.abs().toPlainString();
      return sign + (plain.indexOf('.') < 0 ? plain + ".0" : plain);
    }
    String fraction = digits.length() > 1 ? "." + digits.substring(1) : "";
    return String.format(
        "%s%s%se%s%02d",
        sign, digits.charAt(0), fraction, exponent < 0 ? "-" : "+", Math.abs(exponent));
  }
}

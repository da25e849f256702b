package ai.sluice.text.jinja;

import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * Python's str.format with {@code {}}, {@code {0}} and {@code {name}}, conversions {@code !s} and
 * {@code !r}, and format specs of fill, alignment, width, precision and the types s, d and f.
 */
final class BraceFormat {
  private BraceFormat() {}

  static String format(Interpreter in, String format, Args args) {
    StringBuilder out = new StringBuilder();
    int automatic = 0;
    boolean manual = false;
    int i = 0;
    while (i < format.length()) {
      char c = format.charAt(i++);
      if (c != '{' && c != '}') {
        out.append(c);
        continue;
      }
      if (i < format.length() && format.charAt(i) == c) {
        out.append(c);
        i++;
        continue;
      }
      int close = format.indexOf('}', i);
      if (c == '}' || close < 0) {
        throw TemplateRuntimeException.value("Single '" + c + "' encountered in format string");
      }
      String field = format.substring(i, close);
      i = close + 1;
      int colon = field.indexOf(':');
      String spec = colon < 0 ? "" : field.substring(colon + 1);
      String name = colon < 0 ? field : field.substring(0, colon);
      boolean repr = name.endsWith("!r");
      if (repr || name.endsWith("!s")) {
        name = name.substring(0, name.length() - 2);
      }
      boolean numbered = !name.isEmpty() && Character.isDigit(name.charAt(0));
      if (numbered && automatic > 0 || name.isEmpty() && manual) {
        throw TemplateRuntimeException.value(
            "cannot switch between automatic and manual field numbering");
      }
      manual |= numbered;
      if (name.isEmpty()) {
        name = Integer.toString(automatic++);
      }
      Object value = argument(name, args);
      out.append(in.made(formatted(in, repr ? PyText.repr(in, value) : value, spec)));
    }
    return out.toString();
  }

  private static @Nullable Object argument(String name, Args args) {
    if (name.chars().allMatch(c -> c >= '0' && c <= '9') && name.length() < 6) {
      int index = Integer.parseInt(name);
      if (index >= args.positional().size()) {
        throw TemplateRuntimeException.value("Replacement index " + index + " out of range");
      }
      return args.positional().get(index);
    }
    if (!args.named().containsKey(name)) {
      if (name.indexOf('.') >= 0 || name.indexOf('[') >= 0) {
        throw TemplateRuntimeException.unsupported(
            "format field {" + name + "} (supported: {}, {0} and {name})");
      }
      throw TemplateRuntimeException.value("no argument '" + name + "' for a format");
    }
    return args.named().get(name);
  }

  private static String formatted(Interpreter in, @Nullable Object value, String spec) {
    if (spec.isEmpty()) {
      return PyText.str(in, value);
    }
    int i = 0;
    String fill = " ";
    char align = value != null && Values.isNumber(value) ? '>' : '<';
    if (spec.length() > 1 && "<>^=".indexOf(spec.charAt(1)) >= 0) {
      fill = spec.substring(0, 1);
      align = spec.charAt(1);
      i = 2;
    } else if ("<>^=".indexOf(spec.charAt(0)) >= 0) {
      align = spec.charAt(0);
      i = 1;
    }
    String sign = "";
    if (i < spec.length() && "+- ".indexOf(spec.charAt(i)) >= 0) {
      sign = spec.substring(i, ++i);
    }
    if (i < spec.length() && spec.charAt(i) == '0') {
      fill = "0";
      align = '=';
      i++;
    }
    int width = 0;
    while (i < spec.length() && Character.isDigit(spec.charAt(i))) {
      width = PrintfFormat.digit(width, spec.charAt(i++));
    }
    boolean grouped = i < spec.length() && spec.charAt(i) == ',';
    i += grouped ? 1 : 0;
    int precision = -1;
    if (i < spec.length() && spec.charAt(i) == '.') {
      precision = 0;
      i++;
      while (i < spec.length() && Character.isDigit(spec.charAt(i))) {
        precision = PrintfFormat.digit(precision, spec.charAt(i++));
      }
    }
    String type = spec.substring(i);
    in.chars(width + Math.max(0, precision));
    String text = body(in, value, type, precision, spec);
    if (grouped) {
      text = group(text);
    }
    if (sign.equals("+") && !text.startsWith("-") && value != null && Values.isNumber(value)) {
      text = "+" + text;
    }
    return pad(text, fill, align, width);
  }

  private static String body(
      Interpreter in, @Nullable Object value, String type, int precision, String spec) {
    switch (type) {
      case "", "s":
        if (value instanceof Double d && precision >= 0) {
          break;
        }
        String text = PyText.str(in, value);
        return precision >= 0 && precision < PyStrings.length(text)
            ? PyStrings.range(text, 0, precision)
            : text;
      case "d":
        if (Values.isInteger(value)) {
          return Values.toBig(value).toString();
        }
        break;
      case "f", "F":
        if (value != null && Values.isNumber(value)) {
          return PrintfFormat.fixed(Values.toDouble(value), precision < 0 ? 6 : precision);
        }
        break;
      case "x":
        if (Values.isInteger(value)) {
          return Values.toBig(value).toString(16);
        }
        break;
      case "X":
        if (Values.isInteger(value)) {
          return Values.toBig(value).toString(16).toUpperCase(Locale.ROOT);
        }
        break;
      default:
        break;
    }
    throw TemplateRuntimeException.unsupported(
        "format spec '"
            + spec
            + "' for "
            + Values.typeName(value)
            + " (supported: fill, alignment, width, precision; s, d, f, x)");
  }

  private static String group(String number) {
    int dot = number.indexOf('.');
    StringBuilder out = new StringBuilder(number);
    for (int i = (dot < 0 ? number.length() : dot) - 3;
        i > (number.startsWith("-") ? 1 : 0);
        i -= 3) {
      out.insert(i, ',');
    }
    return out.toString();
  }

  private static String pad(String text, String fill, char align, int width) {
    int missing = Math.max(0, width - PyStrings.length(text));
    return switch (align) {
      case '<' -> text + fill.repeat(missing);
      case '^' -> fill.repeat(missing / 2) + text + fill.repeat(missing - missing / 2);
      case '=' -> {
        boolean signed = text.startsWith("-") || text.startsWith("+");
        yield signed
            ? text.charAt(0) + fill.repeat(missing) + text.substring(1)
            : fill.repeat(missing) + text;
      }
      default -> fill.repeat(missing) + text;
    };
  }
}

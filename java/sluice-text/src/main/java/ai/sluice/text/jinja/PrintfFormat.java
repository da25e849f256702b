package ai.sluice.text.jinja;

import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Python's {@code format % values} with the conversions s, r, d, i, u, f, F, x, X, o, c and %. */
final class PrintfFormat {
  private static final int MAX_WIDTH = 10_000;

  private PrintfFormat() {}

  /** Appends a digit to a width or precision. */
  static int digit(int value, char digit) {
    int next = value * 10 + Character.digit(digit, 10);
    if (next > MAX_WIDTH) {
      throw TemplateRuntimeException.limit(
          "a format of more than " + MAX_WIDTH + " characters (expected: fewer)");
    }
    return next;
  }

  static String format(Interpreter in, String format, @Nullable Object values) {
    List<?> list = values instanceof PyTuple tuple ? tuple : PyTuple.of(values);
    StringBuilder out = new StringBuilder();
    int next = 0;
    int i = 0;
    while (i < format.length()) {
      char c = format.charAt(i++);
      if (c != '%') {
        out.append(c);
        continue;
      }
      Object named = null;
      boolean isNamed = false;
      if (i < format.length() && format.charAt(i) == '(') {
        int close = format.indexOf(')', i);
        if (close < 0 || !(values instanceof Map<?, ?> map)) {
          throw TemplateRuntimeException.type("format requires a mapping");
        }
        String key = format.substring(i + 1, close);
        if (!map.containsKey(key)) {
          throw TemplateRuntimeException.value("no value for '" + key + "' in a format");
        }
        named = map.get(key);
        isNamed = true;
        i = close + 1;
      }
      String flags = "";
      while (i < format.length() && "-+ 0#".indexOf(format.charAt(i)) >= 0) {
        flags += format.charAt(i++);
      }
      int width = 0;
      while (i < format.length() && Character.isDigit(format.charAt(i))) {
        width = digit(width, format.charAt(i++));
      }
      int precision = -1;
      if (i < format.length() && format.charAt(i) == '.') {
        precision = 0;
        i++;
        while (i < format.length() && Character.isDigit(format.charAt(i))) {
          precision = digit(precision, format.charAt(i++));
        }
      }
      if (i >= format.length()) {
        throw TemplateRuntimeException.value("incomplete format");
      }
      char conversion = format.charAt(i++);
      if (conversion == '%') {
        out.append('%');
        continue;
      }
      if (!isNamed && next >= list.size()) {
        throw TemplateRuntimeException.type("not enough arguments for format string");
      }
      Object value = isNamed ? named : list.get(next++);
      in.chars(width + Math.max(precision, 0));
      out.append(pad(one(in, conversion, value, precision, flags), flags, width));
    }
    if (next < list.size() && !(values instanceof Map)) {
      throw TemplateRuntimeException.type("not all arguments converted during string formatting");
    }
    return out.toString();
  }

  private static String one(
      Interpreter in, char conversion, @Nullable Object value, int precision, String flags) {
    switch (conversion) {
      case 's', 'r':
        String text = conversion == 's' ? PyText.str(in, value) : PyText.repr(in, value);
        return precision >= 0 && precision < PyStrings.length(text)
            ? PyStrings.range(text, 0, precision)
            : text;
      case 'd', 'i', 'u':
        if (value == null || !Values.isNumber(value)) {
          throw Values.wrongType(
              value, "%d format: a real number is required, not " + Values.typeName(value));
        }
        Object whole =
            value instanceof Double d
                ? Values.fromBig(new BigDecimal(d).toBigInteger())
                : Values.toBig(value);
        return sign(whole.toString(), flags);
      case 'f', 'F':
        if (value == null || !Values.isNumber(value)) {
          throw Values.wrongType(value, "must be real number, not " + Values.typeName(value));
        }
        return sign(fixed(Values.toDouble(value), precision < 0 ? 6 : precision), flags);
      case 'x', 'X', 'o':
        if (!Values.isInteger(value)) {
          throw Values.wrongType(
              value, "%x format: an integer is required, not " + Values.typeName(value));
        }
        String digits = Values.toBig(value).toString(conversion == 'o' ? 8 : 16);
        return conversion == 'X' ? digits.toUpperCase(java.util.Locale.ROOT) : digits;
      case 'c':
        return value instanceof String s
            ? s
            : new String(Character.toChars((int) Values.toIndex(value)));
      default:
        throw TemplateRuntimeException.unsupported(
            "format %" + conversion + " (supported: s, r, d, i, u, f, F, x, X, o, c)");
    }
  }

  /** A number with a fixed count of decimals, rounded half to even of its exact value. */
  static String fixed(double value, int decimals) {
    if (Double.isNaN(value) || Double.isInfinite(value)) {
      return PyText.number(value);
    }
    String text = new BigDecimal(value).setScale(decimals, RoundingMode.HALF_EVEN).toPlainString();
    return value < 0 && !text.startsWith("-") ? "-" + text : text;
  }

  private static String sign(String number, String flags) {
    return number.startsWith("-")
        ? number
        : flags.contains("+") ? "+" + number : flags.contains(" ") ? " " + number : number;
  }

  private static String pad(String text, String flags, int width) {
    int missing = width - PyStrings.length(text);
    if (missing <= 0) {
      return text;
    }
    if (flags.contains("-")) {
      return text + " ".repeat(missing);
    }
    if (flags.contains("0")) {
      boolean signed = text.startsWith("-") || text.startsWith("+");
      return signed
          ? text.charAt(0) + "0".repeat(missing) + text.substring(1)
          : "0".repeat(missing) + text;
    }
    return " ".repeat(missing) + text;
  }
}

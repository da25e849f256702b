package ai.sluice.text.jinja;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.RoundingMode;
import org.jspecify.annotations.Nullable;

/** Conversion and rounding of numbers. */
final class NumberFilters {
  private NumberFilters() {}

  /** Jinja's int filter. */
  static @Nullable Object toInt(@Nullable Object value, @Nullable Object otherwise, long base) {
    if (Values.isInteger(value)) {
      return Values.fromBig(Values.toBig(value));
    }
    if (value instanceof String text) {
      BigInteger whole = parse(text, base);
      if (whole != null) {
        return Values.fromBig(whole);
      }
    }
    Double number = toFloat(value);
    if (number == null || number.isNaN() || number.isInfinite()) {
      return otherwise;
    }
    return Values.fromBig(new BigDecimal(number).toBigInteger());
  }

  private static @Nullable BigInteger parse(String text, long base) {
    String digits = PyStrings.strip(text, null, true, true);
    boolean negative = digits.startsWith("-");
    if (negative || digits.startsWith("+")) {
      digits = digits.substring(1);
    }
    String prefix = base == 16 ? "0x" : base == 8 ? "0o" : base == 2 ? "0b" : null;
    if (prefix != null && digits.regionMatches(true, 0, prefix, 0, 2)) {
      digits = digits.substring(2);
    }
    if (digits.length() > 1000
        || !digits.matches("[\\p{L}\\p{Nd}]+(_[\\p{L}\\p{Nd}]+)*")
        || base < 2
        || base > 36) {
      return null;
    }
    try {
      BigInteger value = new BigInteger(digits.replace("_", ""), (int) base);
      return negative ? value.negate() : value;
    } catch (NumberFormatException e) {
      return null;
    }
  }

  /** Python's float of a value, or null where that fails. */
  static @Nullable Double toFloat(@Nullable Object value) {
    if (value != null && Values.isNumber(value)) {
      return Values.toDouble(value);
    }
    if (!(value instanceof String text)) {
      return null;
    }
    String trimmed = PyStrings.strip(text, null, true, true);
    if (trimmed.length() > 1000) {
      return null;
    }
    String lower = trimmed.toLowerCase(java.util.Locale.ROOT);
    switch (lower.startsWith("-") || lower.startsWith("+") ? lower.substring(1) : lower) {
      case "inf", "infinity":
        return lower.startsWith("-") ? Double.NEGATIVE_INFINITY : Double.POSITIVE_INFINITY;
      case "nan":
        return Double.NaN;
      default:
        break;
    }
    if (!trimmed.matches(
        "[+-]?(\\d+(_\\d+)*\\.?(\\d+(_\\d+)*)?|\\.\\d+(_\\d+)*)([eE][+-]?\\d+)?")) {
      return null;
    }
    return Double.parseDouble(trimmed.replace("_", ""));
  }

  /** Jinja's round filter. */
  static Object round(Interpreter in, @Nullable Object value, Args args) {
    long precision = args.integer(0, "precision", 0);
    String method = args.string(1, "method", "common");
    args.end("round");
    if (value == null || !Values.isNumber(value)) {
      throw Values.wrongType(
          value, "type " + Values.typeName(value) + " doesn't define __round__ method");
    }
    if (Math.abs(precision) > 300) {
      throw TemplateRuntimeException.limit(
          "round: precision " + precision + " (expected: -300 to" + " 300)");
    }
    switch (method) {
      case "common":
        return common(value, (int) precision);
      case "ceil", "floor":
        double scale = Math.pow(10, precision);
        double scaled = Values.toDouble(value) * scale;
        double whole = method.equals("ceil") ? Math.ceil(scaled) : Math.floor(scaled);
        BigInteger integer = new BigDecimal(whole).toBigInteger();
        return precision >= 0 ? new BigDecimal(integer).doubleValue() / scale : whole / scale;
      default:
        throw TemplateRuntimeException.value("method must be common, ceil or floor");
    }
  }

  private static Object common(Object value, int precision) {
    if (value instanceof Double d) {
      if (d.isNaN() || d.isInfinite()) {
        return d;
      }
      return new BigDecimal(d).setScale(precision, RoundingMode.HALF_EVEN).doubleValue();
    }
    BigInteger integer = Values.toBig(value);
    return precision >= 0
        ? Values.fromBig(integer)
        : Values.fromBig(
            new BigDecimal(integer).setScale(precision, RoundingMode.HALF_EVEN).toBigInteger());
  }
}

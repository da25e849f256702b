package ai.sluice.text.jinja;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Arithmetic with Python's rules: floor division, exact integers, joining and repeating. */
final class Operators {
  private static final int MAX_ELEMENTS = 1_000_000;

  private Operators() {}

  /** The value of {@code a sign b}. */
  static Object apply(Interpreter in, String sign, @Nullable Object a, @Nullable Object b) {
    if (a instanceof Undefined u) {
      throw u.failure();
    }
    if (b instanceof Undefined u) {
      throw u.failure();
    }
    if (sign.equals("+")) {
      if (a instanceof String x && b instanceof String y) {
        in.chars((long) x.length() + y.length());
        in.scanned((long) x.length() + y.length());
        return x.concat(y);
      }
      if (a instanceof List<?> x
          && b instanceof List<?> y
          && isSequence(a)
          && Values.typeName(a).equals(Values.typeName(b))) {
        in.steps(1L + x.size() + y.size());
        in.chars(2L * (x.size() + y.size()));
        List<Object> joined = new ArrayList<>(x);
        joined.addAll(y);
        return a instanceof PyTuple ? new PyTuple(joined) : joined;
      }
    } else if (sign.equals("*")) {
      if (Values.isInteger(b) && (a instanceof String || isSequence(a))) {
        return repeat(in, a, b);
      } else if (Values.isInteger(a) && (b instanceof String || isSequence(b))) {
        return repeat(in, b, a);
      }
    } else if (sign.equals("%") && a instanceof String format) {
      return in.made(PrintfFormat.format(in, format, b));
    }
    if (a == null || b == null || !Values.isNumber(a) || !Values.isNumber(b)) {
      throw TemplateRuntimeException.type(
          "unsupported operand type(s) for "
              + sign
              + ": '"
              + Values.typeName(a)
              + "' and '"
              + Values.typeName(b)
              + "'");
    }
    if (a instanceof Double || b instanceof Double || sign.equals("/")) {
      return floats(sign, Values.toDouble(a), Values.toDouble(b));
    }
    return integers(sign, Values.toBig(a), Values.toBig(b));
  }

  private static boolean isSequence(@Nullable Object value) {
    return value instanceof List && !(value instanceof PyRange);
  }

  private static Object repeat(Interpreter in, Object value, Object times) {
    BigInteger count = Values.toBig(times).max(BigInteger.ZERO);
    long size = Values.length(value);
    if (count
            .multiply(BigInteger.valueOf(Math.max(size, 1)))
            .compareTo(BigInteger.valueOf(Integer.MAX_VALUE / 4))
        > 0) {
      throw TemplateRuntimeException.limit(
          "a value repeated " + count + " times (expected: fewer)");
    }
    int n = count.intValue();
    if (value instanceof String text) {
      in.chars((long) text.length() * n);
      return text.repeat(n);
    }
    if (size * n > MAX_ELEMENTS) {
      throw TemplateRuntimeException.limit(
          "a list of " + size * n + " elements (expected: at most " + MAX_ELEMENTS + ")");
    }
    in.steps(1 + size * n);
    in.chars(2 * size * n);
    List<Object> list = new ArrayList<>((int) (size * n));
    for (int i = 0; i < n; i++) {
      list.addAll((List<?>) value);
    }
    return value instanceof PyTuple ? new PyTuple(list) : list;
  }

  private static Object floats(String sign, double a, double b) {
    if (b == 0 && (sign.equals("/") || sign.equals("//") || sign.equals("%"))) {
      throw TemplateRuntimeException.value("division by zero");
    }
    return switch (sign) {
      case "+" -> a + b;
      case "-" -> a - b;
      case "*" -> a * b;
      case "/" -> a / b;
      case "//" -> Math.floor(a / b);
      case "%" -> {
        double rest = a % b;
        yield rest != 0 && rest < 0 != b < 0 ? rest + b : rest;
      }
      default -> Math.pow(a, b);
    };
  }

  private static Object integers(String sign, BigInteger a, BigInteger b) {
    switch (sign) {
      case "+":
        return Values.fromBig(a.add(b));
      case "-":
        return Values.fromBig(a.subtract(b));
      case "*":
        return Values.fromBig(a.multiply(b));
      case "//", "%":
        if (b.signum() == 0) {
          throw TemplateRuntimeException.value("integer division or modulo by zero");
        }
        BigInteger[] parts = a.divideAndRemainder(b);
        boolean adjust = parts[1].signum() != 0 && parts[1].signum() != b.signum();
        return sign.equals("//")
            ? Values.fromBig(adjust ? parts[0].subtract(BigInteger.ONE) : parts[0])
            : Values.fromBig(adjust ? parts[1].add(b) : parts[1]);
      default:
        if (b.signum() < 0) {
          return Math.pow(a.doubleValue(), b.doubleValue());
        }
        if (a.bitLength() > 1
            && b.multiply(BigInteger.valueOf(a.bitLength())).compareTo(BigInteger.valueOf(8192))
                > 0) {
          throw TemplateRuntimeException.limit(
              "an integer of more than 4096 bits (expected: less)");
        }
        return Values.fromBig(power(a, b));
    }
  }

  private static BigInteger power(BigInteger a, BigInteger b) {
    if (a.bitLength() <= 1 && a.abs().compareTo(BigInteger.ONE) <= 0) {
      // 0, 1 and -1 to any power, however large.
      return b.signum() == 0 || a.signum() > 0
          ? BigInteger.ONE
          : a.signum() == 0 ? BigInteger.ZERO : b.testBit(0) ? a : BigInteger.ONE;
    }
    return a.pow(b.intValueExact());
  }

  /** The value of {@code -a} or {@code +a}. */
  static Object unary(String sign, @Nullable Object a) {
    if (a == null || !Values.isNumber(a)) {
      throw Values.wrongType(
          a, "bad operand type for unary " + sign + ": '" + Values.typeName(a) + "'");
    }
    if (a instanceof Double d) {
      return sign.equals("-") ? -d : d;
    }
    BigInteger value = Values.toBig(a);
    return Values.fromBig(sign.equals("-") ? value.negate() : value);
  }
}

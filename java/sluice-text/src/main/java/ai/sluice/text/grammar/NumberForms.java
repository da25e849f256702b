package ai.sluice.text.grammar;

import ai.sluice.api.InvalidRequestException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.RoundingMode;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The forms of numbers, with bounded numbers of digits, and within bounds. */
final class NumberForms {
  static final int INTEGER_DIGITS = 18;
  static final int NUMBER_DIGITS = 15;
  static final int MAX_MULTIPLE = 1000;

  /** Any integer that a 64-bit integer holds for certain. */
  static final Form INTEGER =
      RegexParser.whole("integer", "0|-?[1-9][0-9]{0," + (INTEGER_DIGITS - 1) + "}");

  /** Any number, to what a double tells apart; the exponent keeps it finite. */
  static final Form NUMBER =
      RegexParser.whole("number", "-?" + decimal() + "(?:[eE][+-]?[0-9]{1,2})?");

  private static final Form DIGITS = digits(0, 9, 0, -1);

  private NumberForms() {}

  private static String decimal() {
    return "(?:0|[1-9][0-9]{0," + (NUMBER_DIGITS - 1) + "})(?:\\.[0-9]{1," + NUMBER_DIGITS + "})?";
  }

  /**
   * Bounds of a number; absent where null.
   *
   * @param low at least this, or above it
   * @param high at most this, or below it
   */
  record Bounds(
      @Nullable BigDecimal low,
      boolean lowExcluded,
      @Nullable BigDecimal high,
      boolean highExcluded) {
    boolean isOpen() {
      return low == null && high == null;
    }
  }

  /** Integers within bounds, multiples of {@code multipleOf} where it is not 0. */
  static Form integer(String where, Bounds bounds, int multipleOf) {
    if (multipleOf == 0) {
      return bounds.isOpen() ? INTEGER : integerWithin(where, bounds, INTEGER_DIGITS);
    }
    // Those who divide by doubles can tell for so many digits alone.
    Form form = integerWithin(where, bounds, NUMBER_DIGITS);
    return new Form.Both(form, new Form.Multiple(multipleOf));
  }

  private static Form integerWithin(String where, Bounds bounds, int maxDigits) {
    BigInteger most = BigInteger.TEN.pow(maxDigits).subtract(BigInteger.ONE);
    BigInteger low = most.negate();
    BigInteger high = most;
    if (bounds.low() != null) {
      BigDecimal bound = checked(where, bounds.low(), maxDigits);
      BigInteger least = bound.setScale(0, RoundingMode.CEILING).toBigIntegerExact();
      boolean excluded = bounds.lowExcluded() && bound.compareTo(new BigDecimal(least)) == 0;
      low = low.max(excluded ? least.add(BigInteger.ONE) : least);
    }
    if (bounds.high() != null) {
      BigDecimal bound = checked(where, bounds.high(), maxDigits);
      BigInteger greatest = bound.setScale(0, RoundingMode.FLOOR).toBigIntegerExact();
      boolean excluded = bounds.highExcluded() && bound.compareTo(new BigDecimal(greatest)) == 0;
      high = high.min(excluded ? greatest.subtract(BigInteger.ONE) : greatest);
    }
    List<Form> signs = new ArrayList<>();
    if (low.signum() < 0) {
      BigInteger least = high.signum() < 0 ? high.negate() : BigInteger.ONE;
      signs.add(Form.sequence(Form.literal("-"), naturals(least, low.negate())));
    }
    if (high.signum() >= 0) {
      signs.add(naturals(low.max(BigInteger.ZERO), high));
    }
    return new Form.Choice(signs);
  }

  /** A bound far beyond all numbers that are written is brought near them; a fine one refused. */
  private static BigDecimal checked(String where, BigDecimal bound, int digits) {
    BigDecimal most = BigDecimal.ONE.movePointRight(digits);
    if (bound.compareTo(most) > 0) {
      return most;
    }
    if (bound.compareTo(most.negate()) < 0) {
      return most.negate();
    }
    BigDecimal plain = bound.signum() == 0 ? BigDecimal.ZERO : bound.stripTrailingZeros();
    if (plain.scale() > NUMBER_DIGITS) {
      throw new InvalidRequestException(
          where
              + ": bound "
              + bound
              + " (expected: at most "
              + NUMBER_DIGITS
              + " digits after the point)");
    }
    return plain;
  }

  /** Numbers from low to high, both not negative, without leading zeros. */
  private static Form naturals(BigInteger low, BigInteger high) {
    List<Form> lengths = new ArrayList<>();
    BigInteger from = low;
    while (from.compareTo(high) <= 0) {
      String first = from.toString();
      BigInteger end = BigInteger.TEN.pow(first.length()).subtract(BigInteger.ONE).min(high);
      lengths.add(between(first, end.toString(), 0));
      from = end.add(BigInteger.ONE);
    }
    return new Form.Choice(lengths);
  }

  private static Form between(String low, String high, int at) {
    if (at == low.length()) {
      return Form.EMPTY;
    }
    int first = low.charAt(at) - '0';
    int last = high.charAt(at) - '0';
    if (first == last) {
      return Form.sequence(digit(first, first), between(low, high, at + 1));
    }
    int rest = low.length() - at - 1;
    List<Form> options = new ArrayList<>();
    options.add(Form.sequence(digit(first, first), atLeast(low, at + 1)));
    if (first + 1 < last) {
      options.add(Form.sequence(digit(first + 1, last - 1), digits(0, 9, rest, rest)));
    }
    options.add(Form.sequence(digit(last, last), atMost(high, at + 1)));
    return new Form.Choice(options);
  }

  private static Form atLeast(String low, int at) {
    if (at == low.length()) {
      return Form.EMPTY;
    }
    int rest = low.length() - at - 1;
    int first = low.charAt(at) - '0';
    Form same = Form.sequence(digit(first, first), atLeast(low, at + 1));
    return first == 9
        ? same
        : Form.choice(same, Form.sequence(digit(first + 1, 9), digits(0, 9, rest, rest)));
  }

  private static Form atMost(String high, int at) {
    if (at == high.length()) {
      return Form.EMPTY;
    }
    int rest = high.length() - at - 1;
    int last = high.charAt(at) - '0';
    Form same = Form.sequence(digit(last, last), atMost(high, at + 1));
    return last == 0
        ? same
        : Form.choice(same, Form.sequence(digit(0, last - 1), digits(0, 9, rest, rest)));
  }

  private static Form digit(int first, int last) {
    return new Form.Chars(CodePoints.of('0' + first, '0' + last));
  }

  private static Form digits(int first, int last, int min, int max) {
    return new Form.Repeat(digit(first, last), min, max);
  }

  /** Numbers within bounds, without exponents. */
  static Form number(String where, Bounds bounds, int maxFractionDigits) {
    if (bounds.isOpen() && maxFractionDigits == NUMBER_DIGITS) {
      return NUMBER;
    }
    boolean excluded = bounds.lowExcluded() || bounds.highExcluded();
    Form canonical = RegexParser.whole(where, canonical(maxFractionDigits, excluded));
    BigDecimal low = bounds.low() == null ? null : checked(where, bounds.low(), NUMBER_DIGITS);
    BigDecimal high = bounds.high() == null ? null : checked(where, bounds.high(), NUMBER_DIGITS);
    List<Form> signs = new ArrayList<>();
    if (low == null || low.signum() < 0) {
      // Above zero: no "-0".
      boolean below = high != null && high.signum() < 0;
      Form size = above(below ? high.negate() : BigDecimal.ZERO, !below || bounds.highExcluded());
      size = new Form.Both(canonical, size);
      if (low != null) {
        size = new Form.Both(size, below(low.negate(), bounds.lowExcluded()));
      }
      signs.add(Form.sequence(Form.literal("-"), size));
    }
    if (high == null || high.signum() >= 0) {
      Form size = canonical;
      if (low != null && low.signum() >= 0) {
        size = new Form.Both(size, above(low, bounds.lowExcluded()));
      }
      if (high != null) {
        size = new Form.Both(size, below(high, bounds.highExcluded()));
      }
      signs.add(size);
    }
    return new Form.Choice(signs);
  }

  /**
   * Numbers not negative.
   *
   * @param distinct whether all of them are different as doubles too, as are those of 15 digits
   */
  private static String canonical(int maxFractionDigits, boolean distinct) {
    if (!distinct) {
      return "(?:0|[1-9][0-9]{0," + (NUMBER_DIGITS - 1) + "})" + fraction(maxFractionDigits);
    }
    StringBuilder all = new StringBuilder("0" + fraction(maxFractionDigits));
    for (int whole = 1; whole <= NUMBER_DIGITS; whole++) {
      all.append("|[1-9][0-9]{" + (whole - 1) + "}");
      all.append(fraction(Math.min(maxFractionDigits, NUMBER_DIGITS - whole)));
    }
    return all.toString();
  }

  private static String fraction(int maxDigits) {
    return maxDigits == 0 ? "" : "(?:\\.[0-9]{1," + maxDigits + "})?";
  }

  /** Numbers not negative that are at least the bound, or above it. */
  private static Form above(BigDecimal bound, boolean excluded) {
    BigInteger whole = bound.toBigInteger();
    String fraction = fraction(bound);
    Form greater =
        Form.sequence(
            naturals(whole.add(BigInteger.ONE), BigInteger.TEN.pow(NUMBER_DIGITS)),
            Form.optional(Form.sequence(Form.literal("."), digits(0, 9, 1, -1))));
    Form beyond = excluded ? Form.sequence(DIGITS, digit(1, 9), DIGITS) : DIGITS;
    for (int i = fraction.length() - 1; i >= 0; i--) {
      int d = fraction.charAt(i) - '0';
      Form same = Form.sequence(digit(d, d), beyond);
      beyond = d == 9 ? same : Form.choice(same, Form.sequence(digit(d + 1, 9), DIGITS));
    }
    Form tail = Form.sequence(Form.literal("."), beyond);
    Form equalWhole = Form.literal(whole.toString());
    return fraction.isEmpty() && !excluded
        ? Form.choice(greater, Form.sequence(equalWhole, Form.optional(tail)))
        : Form.choice(greater, Form.sequence(equalWhole, tail));
  }

  /** Numbers not negative that are at most the bound, or below it. */
  private static Form below(BigDecimal bound, boolean excluded) {
    BigInteger whole = bound.toBigInteger();
    String fraction = fraction(bound);
    List<Form> options = new ArrayList<>();
    if (whole.signum() > 0) {
      options.add(
          Form.sequence(
              naturals(BigInteger.ZERO, whole.subtract(BigInteger.ONE)),
              Form.optional(Form.sequence(Form.literal("."), digits(0, 9, 1, -1)))));
    }
    Form none = new Form.Choice(List.of());
    Form tail = excluded ? none : digits(0, 0, 0, -1);
    for (int i = fraction.length() - 1; i >= 0; i--) {
      int d = fraction.charAt(i) - '0';
      List<Form> here = new ArrayList<>();
      here.add(Form.sequence(digit(d, d), tail));
      if (d > 0) {
        here.add(Form.sequence(digit(0, d - 1), DIGITS));
      }
      if (i > 0) {
        // The digits left out are zeros, the bound's are not all.
        here.add(Form.EMPTY);
      }
      tail = new Form.Choice(here);
    }
    Form equalWhole = Form.literal(whole.toString());
    Form point = Form.sequence(Form.literal("."), tail);
    if (!fraction.isEmpty() || !excluded) {
      options.add(Form.sequence(equalWhole, Form.optional(point)));
    }
    return new Form.Choice(options);
  }

  private static String fraction(BigDecimal bound) {
    String plain = bound.stripTrailingZeros().toPlainString();
    int point = plain.indexOf('.');
    return point < 0 ? "" : plain.substring(point + 1);
  }
}

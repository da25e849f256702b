package ai.sluice.text.grammar;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** Reads the schemas of strings and numbers. */
final class ScalarForms {
  /** More than this cannot be counted; without maxLength any length is allowed. */
  static final int MAX_COUNT = 20_000;

  private final Supplier<Form> stringCharacter;

  /**
   * Reads scalars.
   *
   * @param stringCharacter gives the form of one character of a string, in any spelling
   */
  ScalarForms(Supplier<Form> stringCharacter) {
    this.stringCharacter = stringCharacter;
  }

  Form string(String where, Map<?, ?> map) {
    int min = count(where, map, "minLength", 0);
    int max = count(where, map, "maxLength", -1);
    if (max >= 0 && min > max) {
      throw SchemaReader.fail(where, "minLength: " + min, "at most maxLength, which is " + max);
    }
    boolean bounded = min > 0 || max >= 0;
    List<Form> all = new ArrayList<>();
    if (map.containsKey("pattern")) {
      if (!(map.get("pattern") instanceof String pattern)) {
        throw SchemaReader.fail(where, "pattern: " + map.get("pattern"), "a string");
      }
      all.add(RegexParser.somewhere(where + ".pattern", pattern));
    }
    if (map.containsKey("format")) {
      Object name = map.get("format");
      Form format = name instanceof String text ? JsonForms.format(text) : null;
      if (format == null) {
        throw SchemaReader.fail(
            where, "format: " + name, String.join(", ", JsonForms.formats()));
      }
      all.add(format);
    }
    if (all.isEmpty()) {
      if (!bounded) {
        return JsonForms.STRING;
      }
      Form quote = Form.literal("\"");
      return Form.sequence(quote, new Form.Repeat(stringCharacter.get(), min, max), quote);
    }
    if (bounded) {
      all.add(new Form.Repeat(new Form.Chars(CodePoints.ALL), min, max));
    }
    Form body = all.get(0);
    for (Form other : all.subList(1, all.size())) {
      body = new Form.Both(body, other);
    }
    return new Form.Quoted(body);
  }

  Form number(String where, Map<?, ?> map, boolean isInteger) {
    NumberForms.Bounds bounds = bounds(where, map);
    BigDecimal multiple = decimal(where, map, "multipleOf");
    int digits = NumberForms.NUMBER_DIGITS;
    if (multiple != null) {
      BigDecimal plain = multiple.signum() > 0 ? multiple.stripTrailingZeros() : BigDecimal.ZERO;
      boolean whole = plain.signum() > 0 && plain.scale() <= 0;
      if (whole && plain.compareTo(BigDecimal.valueOf(NumberForms.MAX_MULTIPLE)) <= 0) {
        return NumberForms.integer(where, bounds, plain.intValueExact());
      }
      boolean power = plain.unscaledValue().equals(BigInteger.ONE) && plain.scale() > 0;
      if (!power || plain.scale() > NumberForms.NUMBER_DIGITS) {
        throw SchemaReader.fail(
            where,
            "multipleOf: " + multiple,
            "a whole number from 1 to "
                + NumberForms.MAX_MULTIPLE
                + ", or 0.1, 0.01 and so on to 15 digits");
      }
      digits = plain.scale();
    }
    return isInteger
        ? NumberForms.integer(where, bounds, 0)
        : NumberForms.number(where, bounds, digits);
  }

  private NumberForms.Bounds bounds(String where, Map<?, ?> map) {
    BigDecimal low = decimal(where, map, "minimum");
    BigDecimal above = decimal(where, map, "exclusiveMinimum");
    boolean lowExcluded = above != null && (low == null || above.compareTo(low) >= 0);
    BigDecimal high = decimal(where, map, "maximum");
    BigDecimal below = decimal(where, map, "exclusiveMaximum");
    boolean highExcluded = below != null && (high == null || below.compareTo(high) <= 0);
    return new NumberForms.Bounds(
        lowExcluded ? above : low, lowExcluded, highExcluded ? below : high, highExcluded);
  }

  private static @Nullable BigDecimal decimal(String where, Map<?, ?> map, String key) {
    if (!map.containsKey(key)) {
      return null;
    }
    if (!(map.get(key) instanceof Number number)) {
      throw SchemaReader.fail(where, key + ": " + map.get(key), "a number");
    }
    return new BigDecimal(number.toString());
  }

  /** A count of a schema, or what stands for none. */
  int count(String where, Map<?, ?> map, String key, int none) {
    if (!map.containsKey(key)) {
      return none;
    }
    BigDecimal count = decimal(where, map, key);
    if (count.signum() < 0
        || count.compareTo(BigDecimal.valueOf(MAX_COUNT)) > 0
        || count.stripTrailingZeros().scale() > 0) {
      throw SchemaReader.fail(
          where, key + ": " + map.get(key), "a whole number from 0 to " + MAX_COUNT);
    }
    return count.intValueExact();
  }
}

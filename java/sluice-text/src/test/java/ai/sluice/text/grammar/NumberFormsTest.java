package ai.sluice.text.grammar;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ResponseFormat;
import java.math.BigDecimal;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Numbers within bounds, one by one. */
class NumberFormsTest {
  private static boolean takes(@Nullable CompiledGrammar grammar, String text) {
    if (grammar == null) {
      return false;
    }
    Pushdown.State state = grammar.pushdown().start();
    for (int i = 0; i < text.length() && state != null; i++) {
      state = grammar.pushdown().step(state, text.charAt(i));
    }
    return state != null && state.complete;
  }

  /** The grammar of the numbers, or null if it is refused since there are none. */
  private static @Nullable CompiledGrammar compile(
      String type, BigDecimal low, boolean above, BigDecimal high, boolean below, String multiple) {
    Map<String, Object> schema = new HashMap<>(Map.of("type", type));
    if (low != null) {
      schema.put(above ? "exclusiveMinimum" : "minimum", low);
    }
    if (high != null) {
      schema.put(below ? "exclusiveMaximum" : "maximum", high);
    }
    if (multiple != null) {
      schema.put("multipleOf", new BigDecimal(multiple));
    }
    try {
      return CompiledGrammar.compile(
          ResponseFormat.jsonSchema(schema), Vocabularies.BYTES.table());
    } catch (InvalidRequestException e) {
      assertTrue(e.getMessage().contains("no text fits"), e.getMessage());
      return null;
    }
  }

  private static boolean within(
      BigDecimal value, BigDecimal low, boolean above, BigDecimal high, boolean below) {
    return (low == null || value.compareTo(low) > (above ? 0 : -1))
        && (high == null || value.compareTo(high) < (below ? 0 : 1));
  }

  @ParameterizedTest
  @CsvSource({
    "0,9", "0,10", "7,7", "1,1234", "17,1234", "99,101", "100,999", "-5,5", "-1234,-17",
    "-1000,1000", "-101,99", "0,0", ",0", "0,", ",-3", "12,", "-12,", ",12", "989,1010",
    "1.5,12.5", "-12.5,-1.5", "-0.5,0.5", "1999,2001", "-2001,-1999", "305,1207"
  })
  void integers(BigDecimal low, BigDecimal high) {
    for (int flags = 0; flags < 4; flags++) {
      boolean above = (flags & 1) != 0;
      boolean below = (flags & 2) != 0;
      CompiledGrammar grammar = compile("integer", low, above, high, below, null);
      CompiledGrammar sevens = compile("integer", low, above, high, below, "7");
      for (int i = -2100; i <= 2100; i++) {
        boolean fits = within(BigDecimal.valueOf(i), low, above, high, below);
        String text = Integer.toString(i);
        assertEquals(fits, takes(grammar, text), text);
        assertEquals(fits && i % 7 == 0, takes(sevens, text), text);
        assertEquals(false, takes(grammar, i < 0 ? "-0" + -i : "0" + i), text);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    "0,1", "0,0.5", "-0.5,0.25", "0.05,0.95", "1.5,2.5", "-2.5,-1.5", "-4,-0.25", "9.9,10.1",
    "9.99,10.01", ",0", "0,", "0.3,", ",-0.3", ",2.75", "-2.75,", "0.125,0.375", "3,3.001"
  })
  void decimals(BigDecimal low, BigDecimal high) {
    for (int flags = 0; flags < 4; flags++) {
      boolean above = (flags & 1) != 0;
      boolean below = (flags & 2) != 0;
      CompiledGrammar grammar = compile("number", low, above, high, below, null);
      CompiledGrammar tenths = compile("number", low, above, high, below, "0.1");
      for (int i = -13_000; i <= 13_000; i += i % 1000 == 0 ? 1 : 7) {
        BigDecimal value = BigDecimal.valueOf(i, 3);
        boolean fits = within(value, low, above, high, below);
        String full = value.toPlainString();
        assertEquals(fits, takes(grammar, full), full);
        BigDecimal bare = value.signum() == 0 ? BigDecimal.ZERO : value.stripTrailingZeros();
        String shortest = bare.toPlainString();
        assertEquals(fits, takes(grammar, shortest), shortest);
        assertEquals(fits && bare.scale() <= 1, takes(tenths, shortest), shortest);
        assertEquals(false, takes(grammar, shortest + "e0"), shortest);
        assertEquals(false, takes(grammar, shortest + "."), shortest);
      }
    }
  }

  /** Most readers make doubles of numbers: what is below a bound must not become the bound. */
  @ParameterizedTest
  @CsvSource({"1", "10", "100", "1000", "123456", "99999999", "100000000000000"})
  void excludedBoundsAreExcludedAmongDoubles(BigDecimal bound) {
    CompiledGrammar below = compile("number", null, false, bound, true, null);
    CompiledGrammar above = compile("number", bound, true, null, false, null);
    CompiledGrammar negative = compile("number", bound.negate(), true, null, false, null);
    BigDecimal whole = bound.subtract(BigDecimal.ONE);
    for (int digits = 1; digits <= 15; digits++) {
      String nines = whole.toPlainString() + "." + "9".repeat(digits);
      boolean fits = Double.parseDouble(nines) < bound.doubleValue();
      assertEquals(true, fits || !takes(below, nines), nines);
      assertEquals(true, fits || !takes(negative, "-" + nines), nines);
      String more = bound.toPlainString() + "." + "0".repeat(digits - 1) + "1";
      boolean exceeds = Double.parseDouble(more) > bound.doubleValue();
      assertEquals(true, exceeds || !takes(above, more), more);
      if (digits + bound.precision() <= 15) {
        assertEquals(true, takes(below, nines), nines);
        assertEquals(true, takes(above, more), more);
      }
    }
    assertEquals(true, takes(below, "0.000000000000001"));
  }

  @Test
  void digitsAreBounded() {
    CompiledGrammar integer = compile("integer", null, false, null, false, null);
    assertEquals(true, takes(integer, "999999999999999999"));
    assertEquals(false, takes(integer, "1000000000000000000"));
    assertEquals(false, takes(integer, "-0"));
    CompiledGrammar number = compile("number", null, false, null, false, null);
    assertEquals(true, takes(number, "-123456789012345.123456789012345E-99"));
    assertEquals(false, takes(number, "1234567890123456"));
    assertEquals(false, takes(number, "0.1234567890123456"));
    assertEquals(false, takes(number, "1e100"));
    BigDecimal far = new BigDecimal("1e30");
    CompiledGrammar large = compile("integer", far.negate(), false, far, false, null);
    assertEquals(true, takes(large, "-999999999999999999"));
  }
}

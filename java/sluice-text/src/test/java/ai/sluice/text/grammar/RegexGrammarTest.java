package ai.sluice.text.grammar;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ResponseFormat;
import java.time.Duration;
import java.util.List;
import java.util.Random;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** What an expression's grammar allows is what Java matches. */
class RegexGrammarTest {
  private static final List<String> EXPRESSIONS =
      List.of(
          "a", "abc", "a|b|cd", "a*", "a+", "a?b", "(ab)*", "(?:ab)+c", "(?<name>x|y)z", "a{3}",
          "a{2,}", "a{2,4}", "a{0,3}b", "(a|b){2,3}", "[abc]", "[a-f0-9]+", "[^a]", "[^a-z\\d]x",
          "[-a]", "[a-]", "[\\]\\[]", "[.*+?]", "\\d+", "\\D", "\\w+", "\\W", "\\s", "\\S+",
          "[\\w.]+", "[^\\w]", "[\\s\\d]*", ".", ".*", ".{2,5}", "a.c", "\\.", "\\\\", "\\{\\}",
          "\\t|\\n|\\r|\\f", "\\x41", "\\u0041", "\\u00e9", "\\ud83d\\ude00", "é", "漢字?", "[é漢😀]",
          "[α-ω]+", "😀{2}", "\\p{L}+", "\\p{Lu}\\p{Ll}*", "\\P{L}", "[\\p{N}_]+", "^abc$",
          "^a|b$", "(^a|^b)c", "^(a|b)$", "a*?b", "a+?", "a{1,2}?", "yes|no|maybe", "(a|b)*abb",
          "((a*)*)*", "(a|a)*", "(a|ab)(c|bcd)", "[+-]?\\d+(\\.\\d+)?([eE][+-]?\\d{1,3})?",
          "\\d{4}-\\d{2}-\\d{2}", "#[0-9a-fA-F]{6}", "(\\d{1,3}\\.){3}\\d{1,3}",
          "[A-Z]{2}\\d{2} ?(\\d{4} ?){2}", "(\\w+)(, \\w+)*", "\"[^\"]*\"",
          "<(a|b)>[^<]*</(a|b)>", "(a|b|c|d){0,8}", "(|a)(|b)", "x(y|)z", "[^\\S\\n]", "-|--|---",
          "(?:Mon|Tues|Wednes)day", "[\\x00-\\x7F]{1,3}",
          "!|\\$|%|&|'|,|:|;|=|@|_|`|~| |/|>|<|}|]");

  private static CompiledGrammar compile(String expression, Vocabularies vocabulary) {
    // The usual limits, but no clock: a busy machine changes nothing.
    GrammarLimits limits =
        new GrammarLimits(32, 5_000, 5_000, 120_000, 100_000, Duration.ofMinutes(10), 16L << 20);
    return CompiledGrammar.compile(ResponseFormat.regex(expression), vocabulary.table(), limits);
  }

  @Test
  void thereAreSixtyExpressions() {
    assertTrue(EXPRESSIONS.size() >= 60, "expressions: " + EXPRESSIONS.size());
  }

  @ParameterizedTest
  @EnumSource
  void everyOutputMatches(Vocabularies vocabulary) {
    boolean large = vocabulary == Vocabularies.SMOLLM2;
    for (String expression : EXPRESSIONS) {
      Pattern pattern = Pattern.compile(expression);
      Walk walk = new Walk(compile(expression, vocabulary), vocabulary);
      for (int seed = 0; seed < (large ? 2 : 6); seed++) {
        String text = walk.run(new Random(seed), seed * 3, !large && seed == 3);
        assertTrue(pattern.matcher(text).matches(), () -> expression + " wrote " + text);
      }
    }
  }

  /** Texts near those that match: both say yes, or both say no. */
  @Test
  void nearMissesAreToldApartAsJavaDoes() {
    Vocabularies vocabulary = Vocabularies.MADE_UP;
    int[] counts = new int[2];
    for (String expression : EXPRESSIONS) {
      Pattern pattern = Pattern.compile(expression);
      Walk walk = new Walk(compile(expression, vocabulary), vocabulary);
      Random random = new Random(expression.hashCode());
      for (int i = 0; i < 60; i++) {
        String text = changed(walk.run(random, random.nextInt(8), false), random);
        boolean matches = pattern.matcher(text).matches();
        counts[matches ? 1 : 0]++;
        assertEquals(
            matches, walk.takes(text, random), () -> expression + " and \"" + text + "\"");
      }
    }
    assertTrue(counts[0] > 500 && counts[1] > 500, counts[0] + " and " + counts[1]);
  }

  private static String changed(String text, Random random) {
    int[] points = text.codePoints().toArray();
    String alphabet = "abcdxyz019AZ_-. ,é漢😀\"\\";
    int[] letters = alphabet.codePoints().toArray();
    StringBuilder out = new StringBuilder();
    int at = random.nextInt(points.length + 1);
    int kind = random.nextInt(4);
    for (int i = 0; i <= points.length; i++) {
      if (i == at && kind == 0) {
        out.appendCodePoint(letters[random.nextInt(letters.length)]);
      }
      if (i < points.length && !(i == at && kind == 1)) {
        out.appendCodePoint(
            i == at && kind == 2 ? letters[random.nextInt(letters.length)] : points[i]);
      }
    }
    return out.toString();
  }

  /** Java and ECMAScript differ about these; what both take is allowed. */
  @Test
  void whereDialectsDifferTheStricterHolds() {
    Vocabularies bytes = Vocabularies.BYTES;
    Random random = new Random(0);
    assertEquals(false, new Walk(compile("\\S", bytes), bytes).takes("\u00A0", random));
    assertEquals(false, new Walk(compile("[^\\s]", bytes), bytes).takes("\u2003", random));
    assertEquals(false, new Walk(compile("\\s", bytes), bytes).takes("\u00A0", random));
    assertEquals(false, new Walk(compile(".", bytes), bytes).takes("\u0085", random));
    assertEquals(true, new Walk(compile("[^\\S]", bytes), bytes).takes(" ", random));
    assertEquals(false, new Walk(compile("[^\\S]", bytes), bytes).takes("\u00A0", random));
  }

  @ParameterizedTest
  @CsvSource(
      delimiterString = " => ",
      quoteCharacter = '\u0001',
      value = {
        "(a)\\1 => backreference",
        "(?<x>a)\\k<x> => backreference",
        "a(?=b) => lookahead",
        "a(?!b) => lookahead",
        "(?<=a)b => lookbehind",
        "(?<!a)b => lookbehind",
        "(?>a) => atomic",
        "(?i)a => group of a kind",
        "a*+ => possessive",
        "a** => quantifier of a quantifier",
        "*a => of nothing",
        "a|? => of nothing",
        "\\bword => boundary",
        "\\Aa\\z => boundary",
        "a^b => anchor ^",
        "a$b => anchor $",
        "(^a)* => anchor ^",
        "^* => quantifier of an anchor",
        "[a[b]] => '[' in a class",
        "[a&&b] => '&&' in a class",
        "[] => empty class",
        "[a => not closed",
        "(a => not closed",
        "a) => closes nothing",
        "a{ => quantifier",
        "a{2,1} => quantifier",
        "{a} => '{'",
        "a{10001} => 10001",
        "a{99999999999} => 2147483647 to",
        "[z-a] => range",
        "[\\d-z] => range",
        "\\p{Greek} => category",
        "\\pL => category",
        "\\x4 => hexadecimal",
        "\\u12 => hexadecimal",
        "\\ud83d => surrogate",
        "\\q => escape",
        "\\0 => escape",
        "\\v => escape",
        "a\\ => at the end",
        "[^\\s\\S] => no character",
        "((a{1,1000}){1,1000}){1,1000} => states",
        "(a|b)*a(a|b){30} => states",
        "(.*a){500}.{500} => e",
      })
  void refusedByName(String expression, String reason) {
    InvalidRequestException e =
        assertThrows(
            InvalidRequestException.class, () -> compile(expression, Vocabularies.MADE_UP));
    String expected = reason.replace("2147483647 to", "99999999999");
    assertTrue(
        e.getMessage().contains(expected) && e.getMessage().contains("expected: "),
        e.getMessage());
  }

  @Test
  void groupsNestToALimit() {
    String deep = "(".repeat(100) + "a" + ")".repeat(100);
    assertTrue(
        new Walk(compile(deep, Vocabularies.BYTES), Vocabularies.BYTES).takes("a", new Random(0)));
    assertThrows(
        InvalidRequestException.class, () -> compile("(" + deep + ")", Vocabularies.BYTES));
    assertThrows(
        InvalidRequestException.class, () -> compile("(".repeat(9_999), Vocabularies.BYTES));
  }
}

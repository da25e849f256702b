package ai.sluice.eval.metrics;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import ai.sluice.eval.TestData;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class Gsm8kFilterTest {
  /** Expected values made by Python's re with the three tasks' patterns and ignore list. */
  @Test
  void ownVectors() throws IOException {
    try (InputStream in = getClass().getResourceAsStream("/metrics/extraction.jsonl")) {
      assertEquals(20, check(new String(in.readAllBytes(), StandardCharsets.UTF_8)));
    }
  }

  /** Expected values made by lm-eval itself. */
  @Test
  void lmEvalVectors() throws IOException {
    Path file = TestData.folder("eval").resolve("gsm8k-extract-vectors.jsonl");
    assumeTrue(TestData.there(file), file + " is not there");
    assertEquals(41, check(Files.readString(file)));
  }

  private static int check(String lines) throws IOException {
    int count = 0;
    // Not String.lines(): only line feeds end these lines.
    for (String line : lines.split("\n")) {
      JsonNode vector = new ObjectMapper().readTree(line);
      check(vector, Gsm8kFilter.STRICT_HASHES, "strict_gsm8k");
      check(vector, Gsm8kFilter.STRICT_ANSWER_IS, "strict_cot");
      check(vector, Gsm8kFilter.FLEXIBLE, "flexible");
      count++;
    }
    return count;
  }

  private static void check(JsonNode vector, Gsm8kFilter filter, String key) {
    String message = filter + " of " + vector;
    String found = filter.extract(vector.required("response").textValue());
    assertEquals(vector.required(key).textValue(), found, message);
    assertEquals(
        vector.required("em_" + key).doubleValue() == 1,
        Gsm8kExactMatch.matches(found, vector.required("gold").textValue()),
        message);
  }

  @Test
  void namesAreThoseOfTheResults() {
    assertEquals("strict-match", Gsm8kFilter.STRICT_HASHES.filterName());
    assertEquals("strict-match", Gsm8kFilter.STRICT_ANSWER_IS.filterName());
    assertEquals("flexible-extract", Gsm8kFilter.FLEXIBLE.filterName());
  }

  /** Python's {@code $} knows one line end and allows for one. */
  @Test
  void theLastDotIsPythons() {
    assertEquals("18\n", Gsm8kExactMatch.reduced("18.\n"));
    assertEquals("18.\r\n", Gsm8kExactMatch.reduced("18.\r\n"));
    assertEquals("18.", Gsm8kExactMatch.reduced("18.."));
    assertEquals("1.\n\n", Gsm8kExactMatch.reduced("1.\n\n"));
    assertEquals("x.\u2028", Gsm8kExactMatch.reduced("x.\u2028"));
    assertEquals("x.\u0085", Gsm8kExactMatch.reduced("x.\u0085"));
  }

  @Test
  void theIgnoreListRunsInOrder() {
    assertEquals("cd", Gsm8kExactMatch.reduced("a#### b#### C,$D."));
    assertEquals("", Gsm8kExactMatch.reduced("#### "));
    // The comma goes first and so makes the mark.
    assertEquals("7", Gsm8kExactMatch.reduced("6##,## 7"));
    assertFalse(Gsm8kExactMatch.matches("18.00", "18"));
    assertTrue(Gsm8kExactMatch.matches("$1,800.", "so\n#### 1800"));
  }

  /** Neither the stack nor the time may depend on how a model went astray. */
  @Test
  void longResponses() {
    String digits = "7".repeat(1_000_000);
    assertEquals(digits, Gsm8kFilter.STRICT_HASHES.extract("#### " + digits));
    assertEquals(
        digits.substring(1), Gsm8kFilter.STRICT_ANSWER_IS.extract("The answer is " + digits));
    assertEquals(digits, Gsm8kFilter.FLEXIBLE.extract(digits));
    assertEquals("7", Gsm8kFilter.FLEXIBLE.extract("- 7 ".repeat(250_000)));
    assertTrue(Gsm8kExactMatch.matches("1#### ".repeat(200_000) + "5", "5"));
  }
}

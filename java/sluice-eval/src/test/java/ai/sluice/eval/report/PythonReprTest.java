package ai.sluice.eval.report;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

class PythonReprTest {
  @Test
  void documentsHaveTheHashesThatPythonGivesThem() {
    Map<String, Object> doc = new LinkedHashMap<>();
    doc.put("question", "What \"is\" 1 \\ 2?\n\tÜ\u0085\u2028\u0001\u007f \ud83d\ude00");
    doc.put("subject", "x");
    doc.put("choices", List.of("a", "b\r", "", "/é"));
    doc.put("answer", 2);
    doc.put("empty", List.of());
    // Of Python 3.11: hashlib.sha256(json.dumps(doc, indent=2, ensure_ascii=False).encode())
    assertEquals(
        "6bd5af87701d5bb6e60308dbe230345dcd3a3b22611548bbc9b81e62f3b3b695",
        PythonRepr.sha256(PythonRepr.json(doc)));
    assertEquals("{}", PythonRepr.json(Map.of()));
  }

  @Test
  void numbersAreWrittenAsPythonDoes() {
    // Each as Python 3.11's repr gives it.
    for (String text :
        List.of(
            "0.0001", "9.999e-05", "1e+16", "1.2345678901234568e+17", "0.30000000000000004",
            "5e-324", "0.002", "1.1805916207174113e+21", "-1.5e-07", "1e+22", "1.0", "-3.25",
            "9007199254740992.0", "1.7976931348623157e+308", "0.0", "-0.0", "100.0")) {
      assertEquals(text, PythonRepr.number(Double.parseDouble(text)));
    }
    assertEquals("-inf", PythonRepr.number(Double.NEGATIVE_INFINITY));
    assertEquals("nan", PythonRepr.number(Double.NaN));
    Random random = new Random(5);
    for (int i = 0; i < 20_000; i++) {
      double value = Double.longBitsToDouble(random.nextLong());
      if (Double.isFinite(value)) {
        assertEquals(value, Double.parseDouble(PythonRepr.number(value)));
      }
    }
  }
}

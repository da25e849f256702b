package ai.sluice.eval;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.junit.jupiter.api.Test;

class CsvFileTest {
  private static List<List<String>> fields(String text) {
    return CsvFile.rows("f", text).stream().map(CsvFile.Row::fields).toList();
  }

  @Test
  void fieldsAreAsTheyAreWritten() {
    assertEquals(List.of(List.of("a", "b c", "")), fields("a,b c,"));
    assertEquals(List.of(List.of("a", ""), List.of("", "b")), fields("a,\r\n,b\n"));
    assertEquals(List.of(List.of(""), List.of("x")), fields("\r\nx\r\n"));
    assertEquals(List.of(List.of("a\rb", "c")), fields("a\rb,c"));
    assertEquals(List.of(List.of("a\"b", "\u00e9")), fields("a\"b,\u00e9\n"));
  }

  @Test
  void quotesHoldWhatPartsFields() {
    assertEquals(
        List.of(List.of("a,b", "say \"hi\"\nnow\r\n", ""), List.of("\"")),
        fields("\"a,b\",\"say \"\"hi\"\"\nnow\r\n\",\"\"\r\n\"\"\"\""));
    List<CsvFile.Row> rows = CsvFile.rows("f", "\"1\n\n\"\"2\n\",x\ny\n\nz");
    assertEquals(List.of(1, 5, 6, 7), rows.stream().map(CsvFile.Row::line).toList());
  }
}

package ai.sluice.eval.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.eval.EvalAnswer;
import ai.sluice.eval.EvalItem;
import ai.sluice.eval.EvalPrompt;
import ai.sluice.eval.ItemScores;
import ai.sluice.eval.run.EvalRun;
import ai.sluice.eval.run.ItemLine;
import ai.sluice.eval.run.ItemRecord;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class HtmlReportTest {
  private static final String HOSTILE =
      "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> \u2028 ]]> &amp; \"'";

  @TempDir Path temp;

  private static int count(String text, String part) {
    return text.split(java.util.regex.Pattern.quote(part), -1).length - 1;
  }

  private static JsonNode data(String page) throws IOException {
    String begin = "<script type=\"application/json\" id=data>";
    int at = page.indexOf(begin) + begin.length();
    return new ObjectMapper().readTree(page.substring(at, page.indexOf("</script>", at)));
  }

  private static ItemRecord hostile() {
    EvalItem item =
        new EvalItem(
            "gsm8k", 99, EvalPrompt.of("", List.of(), HOSTILE), List.of(), HOSTILE,
            Map.of("question", HOSTILE));
    return ItemRecord.of(
        "gsm8k", item, item.context(), EvalAnswer.ofText(HOSTILE),
        new ItemScores(
            Map.of("strict-match", HOSTILE),
            Map.of("exact_match,strict-match", 0.0, "exact_match,flexible-extract", 0.0)));
  }

  @Test
  void onePageHoldsAllAndNeedsNothing() throws IOException {
    EvalRun run = MadeRuns.write(temp.resolve("a"), 1);
    RunOutputs.write(run, MadeRuns::sent);
    Path file = temp.resolve("report.html");
    HtmlReport.write(run, file);
    String page = Files.readString(file);
    for (String outside : List.of("http://", "https://", "src=", "href=", "@import", "url(")) {
      assertFalse(page.contains(outside), outside);
    }
    assertEquals(run.items().size(), data(page).path("items").size());
    assertEquals(8, data(page).path("tasks").size());
    assertEquals("gsm8k", data(page).path("tasks").get(0).asText());
    assertEquals("", data(page).path("headers").get(0).asText());
    assertEquals("mmlu_anatomy\n\n", data(page).path("headers").get(2).asText());
    int code = 0;
    for (JsonNode row : data(page).path("items")) {
      boolean runs = data(page).path("tasks").get(row.path(0).asInt()).asText().equals("humaneval");
      assertEquals(runs ? 1 : 0, row.path(10).size(), row.toString());
      code += row.path(10).path(0).asText().equals("failed: AssertionError [gc]") ? 1 : 0;
    }
    assertEquals(1, code);
    assertTrue(page.contains("social sciences"));
    assertTrue(page.contains("<td class=\"n big\">"));
    assertEquals(2, count(page, "<script"));
    assertEquals(2, count(page, "</script>"));
    // Of drawn numbers the places are finite.
    assertFalse(page.contains("NaN"));
    assertFalse(page.contains("Infinity"));
  }

  @Test
  void whatModelsSayIsNoMarkup() throws IOException {
    EvalRun made = MadeRuns.write(temp.resolve("a"), 1);
    Files.writeString(
        made.folder().resolve(EvalRun.ITEMS), ItemLine.write(hostile()),
        StandardOpenOption.APPEND);
    String page = HtmlReport.page(EvalRun.read(made.folder()));
    assertEquals(2, count(page, "<script"));
    assertEquals(2, count(page, "</script>"));
    assertFalse(page.contains("<img"));
    assertFalse(page.contains("<!--"));
    boolean found = false;
    for (JsonNode row : data(page).path("items")) {
      found |= row.path(2).asText().equals(HOSTILE) && row.path(4).path(0).asText().equals(HOSTILE);
    }
    assertTrue(found, "the text is whole");
  }

  @Test
  void aRunOfNothingHasAPageToo() throws IOException {
    EvalRun made = MadeRuns.write(temp.resolve("a"), 1);
    Files.writeString(made.folder().resolve(EvalRun.ITEMS), "");
    String page = HtmlReport.page(EvalRun.read(made.folder()));
    assertTrue(page.contains("Not complete: 50 items are missing."), page.substring(0, 9000));
    assertTrue(page.contains("not judged"));
  }

  private static ItemRecord sure(int index, double share, boolean right) {
    double rest = Math.log((1 - share) / 3);
    List<EvalAnswer.Choice> choices = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      choices.add(new EvalAnswer.Choice(i == 2 ? Math.log(share) : rest, false));
    }
    EvalItem item =
        new EvalItem(
            "mmlu_x", index, EvalPrompt.of("", List.of(), "q"), List.of(), right ? "2" : "0",
            Map.of());
    return ItemRecord.of(
        "mmlu", item, "q", EvalAnswer.ofChoices(choices), new ItemScores(Map.of(), Map.of()));
  }

  @Test
  void calibrationIsHeldAgainstKnownShares() {
    Calibration calibration =
        Calibration.of(
            List.of(
                sure(0, 0.85, true), sure(1, 0.85, true), sure(2, 0.85, false),
                sure(3, 0.45, false)));
    assertEquals(4, calibration.items());
    assertEquals(3, calibration.bins().get(8).items());
    assertEquals(0.85, calibration.bins().get(8).confidence(), 1e-12);
    assertEquals(2.0 / 3, calibration.bins().get(8).accuracy(), 1e-12);
    // (3 * |0.85 - 2/3| + 1 * 0.45) / 4
    assertEquals(0.25, calibration.expectedError(), 1e-12);
    assertEquals(0, Calibration.of(List.of()).expectedError());
    EvalAnswer.Choice impossible = new EvalAnswer.Choice(Double.NEGATIVE_INFINITY, false);
    assertEquals(
        0.25,
        Calibration.confidence(
            EvalAnswer.ofChoices(List.of(impossible, impossible, impossible, impossible))));
  }
}

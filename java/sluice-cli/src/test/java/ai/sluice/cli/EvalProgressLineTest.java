package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.eval.run.EvalProgress;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class EvalProgressLineTest {
  private static EvalProgress progress(int done, double score) {
    return new EvalProgress(
        1000, done, 14_042, 100, 73.5, 1_000_000, 845_000, 8000, 3, 2, 1, "mmlu", "acc,none",
        score);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "119 | '[####                          ]   14 %  2000/14042  10.0/s  ETA 1:14  mmlu"
            + "  acc 0.2500  84 % cached'",
        "79 | '[###                   ]   14 %  2000/14042  10.0/s  ETA 1:14  mmlu  acc 0.2500'",
        "58 | '14 %  2000/14042  10.0/s  ETA 1:14  mmlu  acc 0.2500'",
        "47 | '14 %  2000/14042  10.0/s  ETA 1:14  acc 0.2500'",
        "40 | '14 %  2000/14042  ETA 1:14  acc 0.2500'",
        "30 | '14 %  ETA 1:14  acc 0.2500'",
        "15 | '14 %  ETA 1:14'",
        "9 | '14 %'",
      })
  void aLineNeverIsWiderThanItsRoom(int room, String expected) {
    String line = EvalProgressLine.line(progress(1000, 0.25), room);
    assertEquals(expected, line.trim());
    assertTrue(line.length() <= room, line);
  }

  @Test
  void everyWidthFits() {
    for (int room = 0; room < 150; room++) {
      for (double score : new double[] {0.5, Double.NaN}) {
        String line = EvalProgressLine.line(progress(13_042, score), room);
        assertTrue(line.length() <= room, room + ": " + line);
      }
    }
  }

  @Test
  void whatIsUnknownIsLeftOut() {
    assertEquals(
        "0 %  0/5  0 % cached",
        EvalProgressLine.line(
                new EvalProgress(0, 0, 5, 0.1, -1, 0, 0, 0, 0, 0, 0, "", "", Double.NaN),
                Integer.MAX_VALUE)
            .trim());
  }

  @Test
  void aLogIsSilentAtFirstAndATerminalIsWipedAtTheEnd() {
    for (boolean terminal : new boolean[] {false, true}) {
      ByteArrayOutputStream err = new ByteArrayOutputStream();
      Console console =
          new Console(
              InputStream.nullInputStream(), OutputStream.nullOutputStream(), err, Map.of(), false,
              terminal);
      try (EvalProgressLine line = new EvalProgressLine(console)) {
        line.update(progress(10, 0.5));
      }
      String said = err.toString(StandardCharsets.UTF_8);
      if (terminal) {
        assertTrue(said.startsWith("\r\u001b[K") && said.endsWith("\r\u001b[K"), said);
      } else {
        assertEquals("", said);
      }
    }
  }

  @Test
  void costsSayWhatAReaderShouldKnow() {
    assertEquals(
        "1000 items in 1:40 (10.0/s); 1000 by earlier runs\n"
            + "1,000,000 prompt tokens, 155,000 computed (84.5 % cached), 8,000 new\n"
            + "3 prompts too long, cut at their beginning; 2 ties, which go to the first choice\n"
            + "programs not run: 1; 'sluice eval score RUN' judges them where there is a sandbox\n",
        EvalSummary.costs(progress(1000, 0.25)));
  }
}

package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.openai.batch.BatchStatus;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class BatchProgressTest {
  private static BatchStatus status(long answered, long failed, long bytesTotal) {
    long seconds = 10;
    return new BatchStatus(
        100, answered, failed, 32, 1000, 3000, bytesTotal, 50, 5, 4000, seconds * 1_000_000_000);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "119 | [####################                    ]   50 %  345 lines  24.5 lines/s  400 tok/s"
            + "  ETA 0:14  5 failed",
        "79  | [#######       ]   50 %  345 lines  24.5 lines/s  400 tok/s  ETA 0:14  5 failed",
        "70  | [#########          ]   50 %  345 lines  400 tok/s  ETA 0:14  5 failed",
        "60  | '50 %  345 lines  400 tok/s  ETA 0:14  5 failed'",
        "39  | '50 %  345 lines  ETA 0:14  5 failed'",
        "25  | '50 %  ETA 0:14  5 failed'",
        "15  | '50 %  ETA 0:14'",
        "9   | '50 %'",
        "2147483647 | '50 %  345 lines  24.5 lines/s  400 tok/s  ETA 0:14  5 failed'",
      })
  void aLineNeverIsWiderThanItsRoom(int room, String expected) {
    String line = BatchProgress.line(status(240, 5, 8000), room, "");
    assertEquals(expected, line.trim());
    assertTrue(line.length() <= room, line);
  }

  @Test
  void everyWidthFits() {
    for (int room = 0; room < 150; room++) {
      for (String note : new String[] {"", "finishing (Ctrl-C cancels)"}) {
        String line = BatchProgress.line(status(1_000_000, 10_000, 1_000_000), room, note);
        assertTrue(line.length() <= room, room + ": " + line);
      }
    }
  }

  @Test
  void anInputWithoutASizeHasNoShare() {
    assertEquals(
        "245 done  345 lines  24.5 lines/s  400 tok/s  5 failed",
        BatchProgress.line(status(240, 5, -1), 100, ""));
  }

  @ParameterizedTest
  @CsvSource({"0, 0:00", "0.2, 0:01", "59.5, 1:00", "61, 1:01", "3600, 1:00:00", "1e12, 1000000:00:00"})
  void durations(double seconds, String text) {
    assertEquals(text, BatchProgress.duration(seconds));
  }

  @Test
  void aLogIsSilentAtFirstAndATerminalIsWipedAtTheEnd() {
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    for (boolean terminal : new boolean[] {false, true}) {
      err.reset();
      Console console =
          new Console(
              InputStream.nullInputStream(), OutputStream.nullOutputStream(), err, Map.of(), false,
              terminal);
      try (BatchProgress progress = new BatchProgress(console, () -> 0)) {
        progress.update(status(240, 5, 8000));
      }
      String said = err.toString(StandardCharsets.UTF_8);
      if (terminal) {
        assertTrue(said.startsWith("\r\u001b[K[") && said.endsWith("5 failed\r\u001b[K"), said);
      } else {
        assertEquals("", said);
      }
    }
  }

  @Test
  void theSummarySaysWhatIsLeft() {
    assertEquals(
        "240 lines answered, 5 failed in 0:10 (24.5 lines/s); 100 by earlier runs\n"
            + "50 prompt tokens, 5 of them cached, 4000 new tokens (400.0 tokens/s)\n"
            + "interrupted; the same command goes on from here\n",
        BatchSummary.text(status(240, 5, 8000), false));
  }
}

package ai.sluice.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ProgressLineTest {
  private final ByteArrayOutputStream err = new ByteArrayOutputStream();

  private Console console(boolean terminal) {
    return new Console(
        InputStream.nullInputStream(), OutputStream.nullOutputStream(), err, Map.of(), false,
        terminal);
  }

  private String err() {
    return err.toString(StandardCharsets.UTF_8);
  }

  @Test
  void aLogGetsBeginningAndEnd() {
    try (ProgressLine line = new ProgressLine(console(false), "pulling X")) {
      line.update(1_000_000, 2_000_000);
      line.finish("done");
    }
    assertEquals("pulling X\npulling X: done\n", err());
  }

  @Test
  void aTerminalIsRedrawn() {
    try (ProgressLine line = new ProgressLine(console(true), "pulling X")) {
      line.update(1_000_000, 2_000_000);
      line.finish("done");
    }
    assertEquals(
        "\r\u001b[Kpulling X\r\u001b[Kpulling X: 1.0 MB of 2.0 MB, 50 %\r\u001b[Kpulling X: done\n",
        err());
  }

  @Test
  void anUnfinishedLineIsWiped() {
    try (ProgressLine line = new ProgressLine(console(true), "pulling X")) {
      line.update(1_000_000, 0);
    }
    assertEquals("\r\u001b[Kpulling X\r\u001b[Kpulling X: 1.0 MB\r\u001b[K", err());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "0 | 100 | 0 B of 100 B, 0 %",
        "99 | 100 | 99 B of 100 B, 99 %",
        "200 | 100 | 100 B of 100 B, 100 %",
        "-5 | 0 | -5 B",
        "46435520 | 92871040 | 46.4 MB of 92.9 MB, 50 %",
      })
  void amounts(long done, long total, String text) {
    assertEquals(text, ProgressLine.amount(done, total));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "0 | 0 B",
        "999 | 999 B",
        "1000 | 1.0 kB",
        "999949 | 999.9 kB",
        "999950 | 1.0 MB",
        "98362432 | 98.4 MB",
        "9223372036854775807 | 9.2 EB",
      })
  void sizes(long bytes, String text) {
    assertEquals(text, Sizes.text(bytes));
  }
}

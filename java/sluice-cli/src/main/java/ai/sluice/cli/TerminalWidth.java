package ai.sluice.cli;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;

/** Asks how wide the terminal is. */
final class TerminalWidth {
  private static final int USUAL = 80;
  private static final int LEAST = 10;

  private TerminalWidth() {}

  /** Columns of the terminal of this process, 80 where nobody knows. */
  static int columns() {
    try {
      Process stty =
          new ProcessBuilder("stty", "size")
              .redirectInput(new File("/dev/tty"))
              .redirectError(ProcessBuilder.Redirect.DISCARD)
              .start();
      try {
        if (!stty.waitFor(1, TimeUnit.SECONDS)) {
          return USUAL;
        }
        String[] size =
            new String(stty.getInputStream().readAllBytes(), StandardCharsets.US_ASCII)
                .trim()
                .split(" ");
        int columns = size.length == 2 ? Integer.parseInt(size[1]) : 0;
        return columns >= LEAST ? columns : USUAL;
      } finally {
        stty.destroyForcibly();
      }
    } catch (IOException | NumberFormatException e) {
      return USUAL;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return USUAL;
    }
  }
}

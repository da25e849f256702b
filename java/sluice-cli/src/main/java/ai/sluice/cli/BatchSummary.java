package ai.sluice.cli;

import ai.sluice.openai.batch.BatchStatus;
import java.util.Locale;

/** What a batch came to, in two or three lines. */
final class BatchSummary {
  private BatchSummary() {}

  /**
   * The lines.
   *
   * @param whole whether every line of the input has its line in the output
   */
  static String text(BatchStatus status, boolean whole) {
    double seconds = Math.max(status.seconds(), 1e-3);
    StringBuilder text = new StringBuilder();
    text.append(
        String.format(
            Locale.ROOT,
            "%d %s answered, %d failed in %s (%.1f lines/s)",
            status.answered(),
            status.answered() == 1 ? "line" : "lines",
            status.failed(),
            BatchProgress.duration(status.seconds()),
            status.done() / seconds));
    if (status.before() > 0) {
      text.append("; ").append(status.before()).append(" by earlier runs");
    }
    text.append(
        String.format(
            Locale.ROOT,
            "%n%d prompt tokens, %d of them cached, %d new tokens (%.1f tokens/s)%n",
            status.promptTokens(),
            status.cachedPromptTokens(),
            status.newTokens(),
            status.newTokens() / seconds));
    if (!whole) {
      text.append("interrupted; the same command goes on from here\n");
    }
    return text.toString();
  }
}

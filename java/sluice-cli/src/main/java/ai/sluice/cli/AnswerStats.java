package ai.sluice.cli;

import ai.sluice.api.GenerationResult;
import ai.sluice.api.Timings;
import ai.sluice.api.Usage;
import java.util.Locale;

/** What an answer took, in one line. */
final class AnswerStats {
  private AnswerStats() {}

  /** For example {@code 36 prompt tokens, 450.0 t/s; first token after 0.09 s; …}. */
  static String line(GenerationResult result) {
    Usage usage = result.usage();
    Timings timings = result.timings();
    StringBuilder line = new StringBuilder();
    int computed = usage.promptTokens() - usage.cachedPromptTokens();
    line.append(usage.promptTokens()).append(" prompt tokens");
    if (usage.cachedPromptTokens() > 0) {
      line.append(" (").append(usage.cachedPromptTokens()).append(" cached)");
    }
    if (timings.prefillMicros() > 0) {
      line.append(
          String.format(
              Locale.ROOT, ", %s t/s; first token after %.2f s",
              rate(computed, timings.prefillMicros()), timings.firstTokenMicros() / 1e6));
    }
    line.append("; ").append(usage.newTokens()).append(" new tokens");
    if (usage.newTokens() > 1 && timings.decodeMicros() > 0) {
      // The first new token belongs to the prefill; the rate is that of the others.
      line.append(", ").append(rate(usage.newTokens() - 1, timings.decodeMicros())).append(" t/s");
    }
    return line.append("; ended by ").append(reason(result)).toString();
  }

  private static String rate(int tokens, long micros) {
    return String.format(Locale.ROOT, "%.1f", tokens * 1e6 / micros);
  }

  /** What ended an answer, in words. */
  static String reason(GenerationResult result) {
    String detail = result.detail().isEmpty() ? "" : " (" + result.detail() + ")";
    return switch (result.finishReason()) {
      case STOP -> "the model" + detail;
      case TOOL_CALLS -> "calls of tools" + detail;
      case CANCELLED -> "cancellation";
      default -> result.finishReason().name().toLowerCase(Locale.ROOT) + detail;
    };
  }
}

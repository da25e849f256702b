package ai.sluice.openai;

import ai.sluice.api.FinishReason;
import ai.sluice.api.GenerationResult;
import ai.sluice.api.Timings;
import ai.sluice.api.TokenLogprob;
import ai.sluice.api.Usage;
import java.util.List;

/** Results as an engine gives them. */
public final class Results {
  private Results() {}

  /** An answer without log-probabilities, a token a character. */
  public static GenerationResult answer(String text) {
    return of(text, FinishReason.STOP, "", List.of(), new Usage(3, 1, text.length()));
  }

  /** A result that is no answer. */
  public static GenerationResult ended(FinishReason reason, String detail) {
    return of("", reason, detail, List.of(), new Usage(3, 0, 0));
  }

  /** A result with everything. */
  public static GenerationResult of(
      String text,
      FinishReason reason,
      String detail,
      List<TokenLogprob> logprobs,
      Usage usage) {
    return new GenerationResult(
        text,
        text.chars().boxed().toList(),
        logprobs,
        reason,
        detail,
        1,
        usage,
        new Timings(0, 0, 0, 0));
  }
}

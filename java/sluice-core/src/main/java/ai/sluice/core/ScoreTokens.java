package ai.sluice.core;

import java.util.List;

/**
 * Token ids of what is scored; every continuation stands behind the same context.
 *
 * @param context at least one token; not copied
 * @param continuations at least one token each; the arrays are not copied
 */
public record ScoreTokens(int[] context, List<int[]> continuations) {
  /** Copies the list. */
  public ScoreTokens {
    continuations = List.copyOf(continuations);
  }
}

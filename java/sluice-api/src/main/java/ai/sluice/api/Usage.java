package ai.sluice.api;

/**
 * Tokens that a generation took.
 *
 * @param promptTokens tokens of the prompt
 * @param cachedPromptTokens of these, how many were found in the prefix cache and not computed
 * @param newTokens tokens generated, the one that stopped it included
 */
public record Usage(int promptTokens, int cachedPromptTokens, int newTokens) {
  /** Prompt and new tokens. */
  public int totalTokens() {
    return promptTokens + newTokens;
  }
}

package ai.sluice.text.jinja;

/**
 * Bounds of one rendering. All are counts, so that the same input always ends the same way.
 *
 * @param maxSteps expressions, statements and elements visited
 * @param maxChars characters made in all, output and intermediate texts together
 * @param maxDepth calls of macros within each other
 */
public record Limits(long maxSteps, long maxChars, int maxDepth) {
  private static final long STEPS_CEILING = 200_000_000;

  /**
   * Bounds that leave room for templates that walk the conversation once for each message, and end
   * a runaway one within a fraction of a second.
   *
   * @param values how many values (messages, keys, tool schema nodes) the input has
   * @param chars how many characters its texts have
   */
  public static Limits forInput(long values, long chars) {
    return new Limits(
        Math.min(STEPS_CEILING, 200_000 + 5_000 * values), 4_000_000 + 256 * chars, 64);
  }
}

package ai.sluice.eval.run;

/**
 * How far a run is.
 *
 * @param before items that were done before this process
 * @param done items that this process has done, on the disk
 * @param total items of the run
 * @param seconds since the first was asked
 * @param secondsLeft as it looks; negative while unknown
 * @param promptTokens of the prompts of {@code done}
 * @param cachedTokens of these found in a cache, and so not computed
 * @param newTokens of the answers of {@code done}
 * @param truncated items whose prompt lost its beginning, of the whole run
 * @param tied items of which two choices were exactly as likely, of the whole run
 * @param unjudged answers whose programs were not run, of the whole run
 * @param task whose score is told: the last that an item was done of; empty at first
 * @param metric of that task, for example {@code acc,none}; empty where none is judged
 * @param score the mean of that metric until now; NaN where there is none
 */
public record EvalProgress(
    int before,
    int done,
    int total,
    double seconds,
    double secondsLeft,
    long promptTokens,
    long cachedTokens,
    long newTokens,
    int truncated,
    int tied,
    int unjudged,
    String task,
    String metric,
    double score) {
  /** Items to do. */
  public int left() {
    return total - before - done;
  }

  /** Share of the prompts' tokens that were found in a cache, 0 to 1; 0 where there were none. */
  public double hitRate() {
    return promptTokens == 0 ? 0 : (double) cachedTokens / promptTokens;
  }
}

package ai.sluice.openai.batch;

/**
 * How far a batch has come.
 *
 * @param before lines that an earlier run answered
 * @param answered lines answered by this run
 * @param failed lines of this run whose answer is an error
 * @param open lines that are being answered
 * @param bytesBefore bytes of the lines of earlier runs
 * @param bytesDone bytes of the lines of this run that are over
 * @param bytesTotal bytes of the input, or -1 if unknown
 * @param promptTokens tokens of the prompts of answered lines
 * @param cachedPromptTokens of these, how many were found in the prefix cache
 * @param newTokens tokens generated for answered lines
 * @param nanos since the run began
 */
public record BatchStatus(
    long before,
    long answered,
    long failed,
    int open,
    long bytesBefore,
    long bytesDone,
    long bytesTotal,
    long promptTokens,
    long cachedPromptTokens,
    long newTokens,
    long nanos) {
  /** Lines of this run that are over. */
  public long done() {
    return answered + failed;
  }

  /** The share of the input that is over, 0 to 1; negative if its size is unknown. */
  public double share() {
    return bytesTotal <= 0 ? -1 : Math.min(1, (double) (bytesBefore + bytesDone) / bytesTotal);
  }

  /** Seconds since the run began. */
  public double seconds() {
    return nanos / 1e9;
  }

  /** Seconds until the end at the pace so far; negative if nothing can be said. */
  public double secondsLeft() {
    if (bytesTotal <= 0 || bytesDone == 0) {
      return -1;
    }
    return Math.max(0, bytesTotal - bytesBefore - bytesDone) * (seconds() / bytesDone);
  }
}

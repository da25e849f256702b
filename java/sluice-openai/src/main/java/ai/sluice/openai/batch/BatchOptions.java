package ai.sluice.openai.batch;

import ai.sluice.api.InvalidRequestException;
import java.time.Duration;
import java.util.Optional;

/**
 * How a batch runs. Immutable.
 *
 * @param restart whether an output that is there is given up
 * @param seed of lines that name none: each is drawn with a seed made of this and its custom_id, so
 *     that a line has the same answer in every run
 * @param timeout longest time of one request, from its submission
 * @param retries how often a request that timed out is tried again
 */
public record BatchOptions(boolean restart, long seed, Optional<Duration> timeout, int retries) {
  /** The most retries that may be asked for. */
  public static final int MAX_RETRIES = 100;

  /**
   * Checks the values.
   *
   * @throws InvalidRequestException if one is out of range
   */
  public BatchOptions {
    if (retries < 0 || retries > MAX_RETRIES) {
      throw new InvalidRequestException(
          "retries: " + retries + " (expected: 0 to " + MAX_RETRIES + ")");
    }
    if (timeout.isPresent() && (timeout.get().isZero() || timeout.get().isNegative())) {
      throw new InvalidRequestException(
          "timeout: " + timeout.get() + " (expected: above zero)");
    }
  }

  /** No restart, seed 0, no timeout. */
  public static BatchOptions defaults() {
    return new BatchOptions(false, 0, Optional.empty(), 1);
  }
}

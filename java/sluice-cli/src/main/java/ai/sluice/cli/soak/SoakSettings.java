package ai.sluice.cli.soak;

import ai.sluice.api.InvalidRequestException;

/**
 * How a soak runs.
 *
 * @param seconds how long requests are made, 1 or more
 * @param concurrency requests that are open at once, 1 to 1024
 * @param stallSeconds how long an engine with work may run no step, 1 or more
 * @param statusSeconds between two lines of status, 1 or more
 * @param seed of everything random
 * @param exact whether outputs must be the same in every run, as in BATCH_INVARIANT numerics
 * @param fault what is done wrong on purpose
 */
public record SoakSettings(
    int seconds,
    int concurrency,
    int stallSeconds,
    int statusSeconds,
    long seed,
    boolean exact,
    SoakFault fault) {
  /** Most requests open at once. */
  public static final int MAX_CONCURRENCY = 1024;

  private static final int MAX_SECONDS = 30 * 86_400;

  /**
   * Checks the ranges.
   *
   * @throws InvalidRequestException if a number is out of range
   */
  public SoakSettings {
    require("--seconds", seconds, MAX_SECONDS);
    require("--concurrency", concurrency, MAX_CONCURRENCY);
    require("--stall-seconds", stallSeconds, MAX_SECONDS);
    require("--status-seconds", statusSeconds, MAX_SECONDS);
  }

  private static void require(String option, int value, int most) {
    if (value < 1 || value > most) {
      throw new InvalidRequestException(option + ": " + value + " (expected: 1 to " + most + ")");
    }
  }

  /** Sequences that the engine runs at once: fewer than there are, so that some wait. */
  public int maxSequences() {
    return (concurrency + 1) / 2;
  }
}

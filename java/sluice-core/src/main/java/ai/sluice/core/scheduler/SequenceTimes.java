package ai.sluice.core.scheduler;

import ai.sluice.api.Timings;
import java.util.concurrent.TimeUnit;

/**
 * When things happened to a sequence, in nanoseconds of one clock; {@link #NEVER} for what did not.
 *
 * @param submitted taken by the engine
 * @param started in a step for the first time
 * @param firstToken first new token known
 * @param lastToken last new token known
 * @param finished ended
 */
public record SequenceTimes(
    long submitted, long started, long firstToken, long lastToken, long finished) {
  /** Stands for a thing that did not happen. */
  public static final long NEVER = Long.MIN_VALUE;

  /** Where the time went; what did not happen took none. */
  public Timings timings() {
    boolean spoke = firstToken != NEVER;
    long queueEnd = started == NEVER ? finished : started;
    return new Timings(
        micros(queueEnd - submitted),
        spoke ? micros(firstToken - started) : 0,
        spoke ? micros(lastToken - firstToken) : 0,
        micros(finished - submitted));
  }

  private static long micros(long nanos) {
    return TimeUnit.NANOSECONDS.toMicros(nanos);
  }
}

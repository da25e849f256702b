package ai.sluice.core;

import ai.sluice.core.scheduler.Sequence;
import java.time.Duration;
import java.util.Optional;

/** When requests time out, on an engine's clock. */
final class Deadlines {
  private static final long NEVER_DAYS = 36_500;

  private Deadlines() {}

  /**
   * The end of a timeout that starts now; {@link Sequence#NO_DEADLINE} if there is none.
   *
   * @param now in nanoseconds
   */
  static long of(long now, Optional<Duration> timeout) {
    if (timeout.isEmpty() || timeout.get().toDays() > NEVER_DAYS) {
      return Sequence.NO_DEADLINE;
    }
    return now + timeout.get().toNanos();
  }
}

package ai.sluice.core;

import java.util.concurrent.locks.Condition;

/** The time that a batcher keeps; tests have one of their own. */
interface BatchClock {
  /** Nanoseconds since some origin. */
  long now();

  /**
   * Waits for a signal, at most so long. Called with the condition's lock held.
   *
   * @param nanos above 0; {@link BatchWindow#NEVER}: until the signal
   */
  void await(Condition condition, long nanos) throws InterruptedException;
}

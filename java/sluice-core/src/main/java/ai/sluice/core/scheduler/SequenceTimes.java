package ai.sluice.core.scheduler;

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
}

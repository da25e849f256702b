package ai.sluice.core.events;

import ai.sluice.api.FinishReason;
import ai.sluice.api.Timings;

/**
 * Takes note of what an engine does. Thread-safe; allocates nothing while nobody records. The thread
 * of an event tells the engine.
 */
public interface EngineEvents {
  /** Takes note of nothing. */
  EngineEvents NONE = new EngineEvents() {};

  /**
   * Events for Java Flight Recorder, or {@link #NONE} in a Java runtime that was made without it.
   */
  static EngineEvents create() {
    return ModuleLayer.boot().findModule("jdk.jfr").isPresent() ? new FlightEvents() : NONE;
  }

  /** A phase of loading that has begun. */
  interface Phase {
    /** The phase is over; not called if it failed. */
    void end(long bytes);
  }

  /** A phase of loading begins. */
  default Phase load(String phase) {
    return bytes -> {};
  }

  /**
   * A request leaves the queue for the first time.
   *
   * @param micros that it waited
   */
  default void queued(long micros, int promptTokens, int priority) {}

  /**
   * A request's prompt was looked for in the prefix cache.
   *
   * @param hitTokens tokens found
   * @param evictedBlocks blocks that the cache has given up since it was made
   */
  default void prefix(int promptTokens, int hitTokens, long evictedBlocks) {}

  /**
   * A step was applied. One with prompt tokens is prefill, though others may decode in it.
   *
   * @param tokens computed, of prompts and new
   * @param promptTokens of these, the ones of prompts
   * @param rows outputs
   * @param planMicros of the scheduler's thread
   */
  default void step(
      long stepId,
      int tokens,
      int promptTokens,
      int sequences,
      int rows,
      long deviceMicros,
      long planMicros) {}

  /**
   * A running request gave up its blocks.
   *
   * @param tokens whose state is lost, unless the prefix cache keeps it
   * @param times that this happened to the request
   */
  default void preempted(int tokens, int times) {}

  /** Whether {@link #ended} is recorded. */
  default boolean recordsEnds() {
    return false;
  }

  /** A request is over. */
  default void ended(
      FinishReason reason, int promptTokens, int cachedTokens, int newTokens, Timings timings) {}
}

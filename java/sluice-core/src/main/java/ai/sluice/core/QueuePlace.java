package ai.sluice.core;

/**
 * A request's place among those that wait and those that are open. Given back once each. Used by
 * one thread at a time.
 */
final class QueuePlace {
  private final Runnable leftQueue;
  private final Runnable ended;
  private boolean queued = true;
  private boolean open = true;

  /**
   * Takes over a place.
   *
   * @param leftQueue called once, when the request no longer waits
   * @param ended called once, when it is over
   */
  QueuePlace(Runnable leftQueue, Runnable ended) {
    this.leftQueue = leftQueue;
    this.ended = ended;
  }

  /** The request no longer waits. */
  void leaveQueue() {
    if (queued) {
      queued = false;
      leftQueue.run();
    }
  }

  /** The request is over. */
  void leave() {
    leaveQueue();
    if (open) {
      open = false;
      ended.run();
    }
  }
}

package ai.sluice.core;

/**
 * A request's place among those that wait and those that are open. Given back once each. Used by
 * one thread at a time.
 */
final class QueuePlace {
  private final AdmissionQueue queue;
  private int sequences;
  private long promptTokens;
  private boolean queued;
  private boolean open = true;

  QueuePlace(AdmissionQueue queue, int sequences) {
    this(queue, sequences, true);
  }

  private QueuePlace(AdmissionQueue queue, int sequences, boolean queued) {
    this.queue = queue;
    this.sequences = sequences;
    this.queued = queued;
  }

  /**
   * Counts the tokens of the request's prompt, once, before anything else.
   *
   * @throws QueueFullException if the queue has no room for them; the place must then be given back
   */
  void count(long tokens) {
    queue.countTokens(tokens);
    promptTokens = tokens;
  }

  /** A place of its own for one of the sequences, which does not count as a request that waits. */
  QueuePlace split() {
    if (sequences < 2) {
      throw new IllegalStateException("place: of one sequence (a defect of Sluice)");
    }
    sequences--;
    return new QueuePlace(queue, 1, false);
  }

  /** The request no longer waits. */
  void leaveQueue() {
    if (queued) {
      queued = false;
      queue.leaveQueue(promptTokens);
    }
  }

  /** The request is over. */
  void leave() {
    leaveQueue();
    if (open) {
      open = false;
      queue.leave(sequences);
    }
  }
}

package ai.sluice.core;

import ai.sluice.api.EngineOptions;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Bounds how many requests wait, and how many tokens their prompts have. A place is taken before
 * the prompt is tokenized, so that a burst costs nothing, and its tokens are counted right after.
 * Thread-safe.
 */
final class AdmissionQueue {
  private final int maxRequests;
  private final int maxTokens;
  private final int maxSequences;
  private final AtomicInteger waiting = new AtomicInteger();
  private final AtomicInteger open = new AtomicInteger();
  private final AtomicLong tokens = new AtomicLong();

  AdmissionQueue(EngineOptions options) {
    this(options.maxQueuedRequests(), options.maxQueuedTokens(), options.maxSequences());
  }

  /**
   * Creates an empty queue.
   *
   * @param maxRequests most requests that wait
   * @param maxTokens most prompt tokens of those that wait; one that finds none waiting may have
   *     more
   * @param maxSequences that run at once: while fewer are open, nobody has to wait
   */
  AdmissionQueue(int maxRequests, int maxTokens, int maxSequences) {
    this.maxRequests = maxRequests;
    this.maxTokens = maxTokens;
    this.maxSequences = maxSequences;
  }

  /** Requests that wait. */
  int waiting() {
    return waiting.get();
  }

  /** Prompt tokens of the requests that wait. */
  long waitingTokens() {
    return tokens.get();
  }

  /** Sequences of all requests that are not over. */
  int open() {
    return open.get();
  }

  /**
   * Takes a place.
   *
   * @param sequences that the request runs at most
   * @throws QueueFullException if as many requests wait as may
   */
  QueuePlace enter(int sequences) {
    int ahead = waiting.getAndIncrement();
    int running = open.getAndAdd(sequences);
    QueuePlace place = new QueuePlace(this, sequences);
    if (ahead >= maxRequests && running >= maxSequences) {
      place.leave();
      throw new QueueFullException(
          "queue: " + ahead + " requests wait (expected: fewer than maxQueuedRequests = "
              + maxRequests + "; try again later)");
    }
    return place;
  }

  void countTokens(long more) {
    while (true) {
      long before = tokens.get();
      if (before > 0 && before + more > maxTokens) {
        throw new QueueFullException(
            "queue: " + before + " prompt tokens wait, and this request has " + more
                + " (expected: together at most maxQueuedTokens = " + maxTokens
                + "; try again later)");
      }
      if (tokens.compareAndSet(before, before + more)) {
        return;
      }
    }
  }

  void leaveQueue(long promptTokens) {
    waiting.decrementAndGet();
    tokens.addAndGet(-promptTokens);
  }

  void leave(int sequences) {
    open.addAndGet(-sequences);
  }
}

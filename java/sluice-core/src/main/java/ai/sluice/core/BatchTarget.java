package ai.sluice.core;

import ai.sluice.api.ClassificationRequest;
import ai.sluice.api.ClassificationResult;
import ai.sluice.api.ScoreRequest;
import ai.sluice.api.ScoreResult;

/** Where a batcher hands requests on. Thread-safe. */
interface BatchTarget {
  /** Now, by the engine's clock, in nanoseconds. */
  long now();

  /** Throws unless requests are taken. */
  void requireOpen();

  /** The token ids of what is to be classified. */
  int[] encode(ClassificationRequest request);

  /** The token ids of what is to be scored. */
  ScoreEncoder.Encoded encode(ScoreRequest request);

  /**
   * Starts a classification of a known prompt that was submitted before.
   *
   * @throws QueueFullException if it cannot wait
   */
  WorkFuture<ClassificationResult> classify(
      ClassificationRequest request, int[] prompt, long submitted);

  /**
   * Starts to score known tokens that were submitted before.
   *
   * @throws QueueFullException if it cannot wait
   */
  WorkFuture<ScoreResult> score(
      ScoreRequest request, ScoreEncoder.Encoded encoded, long submitted);

  /** Counts a request that is refused because the queue is full. */
  void countRejected();
}

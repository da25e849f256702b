package ai.sluice.core.scheduler;

import ai.sluice.api.FinishReason;
import java.util.EnumMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;

/** Counters that the scheduler's thread writes and any thread reads. */
public final class SchedulerCounters {
  private final Map<FinishReason, AtomicLong> finished = new EnumMap<>(FinishReason.class);

  /** Sequences in the queue. */
  public final AtomicLong waiting = new AtomicLong();

  /** Sequences being computed. */
  public final AtomicLong running = new AtomicLong();

  /** Blocks in use, summed over groups. */
  public final AtomicLong usedBlocks = new AtomicLong();

  /** Blocks kept for their content that no sequence uses, summed over groups. */
  public final AtomicLong cachedBlocks = new AtomicLong();

  /** Admitted sequences of whose prompt something was found in the prefix cache. */
  public final AtomicLong prefixHits = new AtomicLong();

  /** Prompt tokens found in the prefix cache. */
  public final AtomicLong prefixHitTokens = new AtomicLong();

  /** Blocks that the prefix cache gave up for others, summed over groups. */
  public final AtomicLong prefixEvictions = new AtomicLong();

  /** Times that a sequence lost its place among the running, to be computed again later. */
  public final AtomicLong preemptions = new AtomicLong();

  /** Tokens proposed as drafts. */
  public final AtomicLong draftTokens = new AtomicLong();

  /** Draft tokens that turned out right. */
  public final AtomicLong acceptedDraftTokens = new AtomicLong();

  /** Steps applied. */
  public final AtomicLong steps = new AtomicLong();

  /** Prompt tokens computed. */
  public final AtomicLong promptTokens = new AtomicLong();

  /** Tokens generated. */
  public final AtomicLong newTokens = new AtomicLong();

  /** Time the steps took, in microseconds. */
  public final AtomicLong stepMicros = new AtomicLong();

  /** Time spent planning and applying, in nanoseconds. */
  public final AtomicLong planNanos = new AtomicLong();

  /** Tokens per layer and expert. */
  public final ExpertCounts expertCounts;

  /** Creates counters at zero, for an engine that reports no tokens per expert. */
  public SchedulerCounters() {
    this(ExpertCounts.none());
  }

  /** Creates counters at zero. */
  public SchedulerCounters(ExpertCounts expertCounts) {
    this.expertCounts = expertCounts;
    for (FinishReason reason : FinishReason.values()) {
      finished.put(reason, new AtomicLong());
    }
  }

  /** Sequences ended for a reason. */
  public AtomicLong finished(FinishReason reason) {
    return finished.get(reason);
  }
}

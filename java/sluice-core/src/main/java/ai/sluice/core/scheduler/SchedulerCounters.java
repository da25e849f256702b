package ai.sluice.core.scheduler;

import ai.sluice.api.DraftMetrics;
import ai.sluice.api.EngineMetrics;
import ai.sluice.api.FinishReason;
import ai.sluice.core.events.EngineEvents;
import java.util.EnumMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Counters that the scheduler's thread writes and any thread reads. What happens to sequences and
 * steps is told here once, and becomes counts, histograms and events.
 */
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

  /** Prompt tokens that were looked for in the prefix cache. */
  public final AtomicLong prefixQueryTokens = new AtomicLong();

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

  private final RequestHistograms histograms = new RequestHistograms();
  private final EngineEvents events;

  /** Creates counters at zero, for an engine that reports no tokens per expert and no events. */
  public SchedulerCounters() {
    this(ExpertCounts.none(), EngineEvents.NONE);
  }

  /** Creates counters at zero, whose events Java Flight Recorder may record. */
  public SchedulerCounters(ExpertCounts expertCounts) {
    this(expertCounts, EngineEvents.create());
  }

  /** Creates counters at zero. */
  public SchedulerCounters(ExpertCounts expertCounts, EngineEvents events) {
    this.expertCounts = expertCounts;
    this.events = events;
    for (FinishReason reason : FinishReason.values()) {
      finished.put(reason, new AtomicLong());
    }
  }

  /** A sequence leaves the queue for the first time. */
  void admitted(Sequence sequence) {
    if (sequence.isCached()) {
      prefixQueryTokens.addAndGet(sequence.promptLength);
      events.prefix(sequence.promptLength, sequence.cachedTokens, prefixEvictions.get());
      if (sequence.cachedTokens > 0) {
        prefixHits.incrementAndGet();
        prefixHitTokens.addAndGet(sequence.cachedTokens);
      }
    }
    histograms.admitted(sequence);
    events.queued(
        TimeUnit.NANOSECONDS.toMicros(sequence.started - sequence.submitted),
        sequence.promptLength,
        sequence.priority);
  }

  /** A step's results are there. */
  void applied(StepPlan plan, long deviceMicros) {
    steps.incrementAndGet();
    stepMicros.addAndGet(deviceMicros);
    promptTokens.addAndGet(plan.numPromptTokens);
    histograms.step(plan.numTokens);
    events.step(
        plan.stepId,
        plan.numTokens,
        plan.numPromptTokens,
        plan.numSequences,
        plan.numRows,
        deviceMicros,
        TimeUnit.NANOSECONDS.toMicros(plan.planNanos));
  }

  /**
   * A sequence may have new tokens.
   *
   * @param before tokens that it had generated before
   * @param lastToken when it had the last of them, or {@link SequenceTimes#NEVER}
   */
  void heard(Sequence sequence, int before, long lastToken, long now) {
    int tokens = sequence.numOutputs() - before;
    if (tokens > 0) {
      histograms.heard(sequence, tokens, lastToken, now);
    }
  }

  /** A sequence gave up its blocks. */
  void preempted(Sequence sequence) {
    preemptions.incrementAndGet();
    events.preempted(sequence.numKnown, sequence.numPreemptions);
  }

  /** A sequence is over. */
  void ended(Sequence sequence, FinishReason reason, long now) {
    finished(reason).incrementAndGet();
    histograms.ended(sequence, reason, now);
    if (events.recordsEnds()) {
      events.ended(
          reason,
          sequence.promptLength,
          sequence.cachedTokens,
          sequence.numOutputs(),
          sequence.times(now).timings());
    }
  }

  /**
   * All counters at once.
   *
   * @param waiting requests in the queue
   * @param kvBlocks blocks that there are, summed over groups
   */
  public EngineMetrics snapshot(int waiting, long kvBlocks) {
    Map<FinishReason, Long> ends = new EnumMap<>(FinishReason.class);
    finished.forEach((reason, count) -> ends.put(reason, count.get()));
    return new EngineMetrics(
        waiting,
        (int) running.get(),
        kvBlocks,
        usedBlocks.get(),
        cachedBlocks.get(),
        steps.get(),
        promptTokens.get(),
        newTokens.get(),
        prefixHits.get(),
        prefixQueryTokens.get(),
        prefixHitTokens.get(),
        prefixEvictions.get(),
        preemptions.get(),
        ends,
        stepMicros.get(),
        TimeUnit.NANOSECONDS.toMicros(planNanos.get()),
        new DraftMetrics(draftTokens.get(), acceptedDraftTokens.get()),
        histograms.latency(),
        histograms.sizes());
  }

  /** Sequences ended for a reason. */
  public AtomicLong finished(FinishReason reason) {
    return finished.get(reason);
  }
}

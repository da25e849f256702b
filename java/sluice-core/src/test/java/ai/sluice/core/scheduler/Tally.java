package ai.sluice.core.scheduler;

import ai.sluice.api.FinishReason;

/** What a {@link Simulation} met: it has to meet what it is about. */
final class Tally {
  long sum;
  int arrivals;
  int failed;
  long ended;
  long cancelled;
  long timedOut;
  long notFinite;
  long broken;
  long cachedTokens;
  long preempted;
  long pinned;
  long scores;
  long constrained;
  long forked;
  long copies;
  long draftRows;
  long acceptedDrafts;
  long rejectedDrafts;
  long maskedRows;
  long preemptions;
  long hits;
  long evictions;
  long steps;

  void add(SimulatedCase c) {
    ended += c.reason == FinishReason.STOP || c.reason == FinishReason.LENGTH ? 1 : 0;
    cancelled += c.reason == FinishReason.CANCELLED ? 1 : 0;
    timedOut += c.reason == FinishReason.TIMEOUT ? 1 : 0;
    boolean broke = c.broke || c.limitsBreak;
    notFinite += c.reason == FinishReason.ERROR && !broke ? 1 : 0;
    broken += c.reason == FinishReason.ERROR && broke ? 1 : 0;
    cachedTokens += c.salt == null ? 0 : c.cachedTokens;
    preempted += c.sequence.numPreemptions > 0 ? 1 : 0;
    pinned += c.sequence.isPinned() ? 1 : 0;
    scores += c.numScored;
    constrained += c.constraint != null ? 1 : 0;
    forked += c.isFork && c.cachedTokens == c.promptLength - 1 ? 1 : 0;
  }

  void add(FakeEngine engine) {
    copies += engine.copies;
    draftRows += engine.draftRows;
    acceptedDrafts += engine.acceptedDrafts;
    rejectedDrafts += engine.rejectedDrafts;
    maskedRows += engine.maskedRows;
  }

  void add(SchedulerCounters counters) {
    preemptions += counters.preemptions.get();
    hits += counters.prefixHits.get();
    steps += counters.steps.get();
  }

  void add(Tally other) {
    sum ^= other.sum;
    arrivals += other.arrivals;
    failed += other.failed;
    ended += other.ended;
    cancelled += other.cancelled;
    timedOut += other.timedOut;
    notFinite += other.notFinite;
    broken += other.broken;
    cachedTokens += other.cachedTokens;
    preempted += other.preempted;
    pinned += other.pinned;
    scores += other.scores;
    constrained += other.constrained;
    forked += other.forked;
    copies += other.copies;
    draftRows += other.draftRows;
    acceptedDrafts += other.acceptedDrafts;
    rejectedDrafts += other.rejectedDrafts;
    maskedRows += other.maskedRows;
    preemptions += other.preemptions;
    hits += other.hits;
    evictions += other.evictions;
    steps += other.steps;
  }

  @Override
  public String toString() {
    return steps + " steps, " + arrivals + " sequences: " + ended + " ended, " + cancelled
        + " cancelled, " + timedOut + " timed out, " + notFinite + " not finite, " + broken
        + " broke down, " + failed
        + " failed with the engine; " + preemptions + " preemptions of " + preempted + " ("
        + pinned + " three times), " + hits + " prefix hits, " + evictions + " evictions, "
        + copies + " copies, " + constrained + " limited (" + maskedRows + " masked rows), "
        + draftRows + " drafts (" + acceptedDrafts + " accepted tokens, " + rejectedDrafts
        + " rejected), " + scores + " scores, " + forked + " forks with their leader's state";
  }
}

package ai.sluice.api;

import java.util.Map;

/**
 * A snapshot of an engine's counters. Gauges tell the moment; the rest only grows. Taken without
 * stopping the engine, so two numbers may be a step apart.
 *
 * @param waiting gauge: requests in the queue; one with several sequences counts once
 * @param running gauge: sequences being computed
 * @param kvBlocksTotal gauge: KV blocks, summed over groups
 * @param kvBlocksUsed gauge: of these, in use
 * @param kvBlocksCached gauge: blocks kept by the prefix cache that no sequence uses
 * @param steps steps run
 * @param promptTokens prompt tokens computed
 * @param newTokens tokens generated
 * @param prefixHits requests of whose prompt something was found in the prefix cache
 * @param prefixQueryTokens prompt tokens that were looked for in the prefix cache
 * @param prefixHitTokens prompt tokens found in the prefix cache, and so not computed
 * @param prefixEvictions blocks that the prefix cache gave up for others
 * @param preemptions times that a running sequence gave up its blocks to others, to be computed
 *     again later
 * @param finished sequences ended, by reason: each alternative of a generation, each row of
 *     continuations of a score; and requests that were rejected. Every reason has an entry
 * @param stepMicros time in which at least one step was running
 * @param planMicros time of the scheduler thread spent planning and applying steps
 * @param drafts tokens guessed ahead
 * @param latency how long requests took
 * @param sizes how large requests and steps were
 */
public record EngineMetrics(
    int waiting,
    int running,
    long kvBlocksTotal,
    long kvBlocksUsed,
    long kvBlocksCached,
    long steps,
    long promptTokens,
    long newTokens,
    long prefixHits,
    long prefixQueryTokens,
    long prefixHitTokens,
    long prefixEvictions,
    long preemptions,
    Map<FinishReason, Long> finished,
    long stepMicros,
    long planMicros,
    DraftMetrics drafts,
    LatencyMetrics latency,
    SizeMetrics sizes) {
  /** Copies the map. */
  public EngineMetrics {
    finished = Map.copyOf(finished);
  }

  /** Share of the KV blocks that are in use, 0 to 1. */
  public double kvUsage() {
    return kvBlocksTotal == 0 ? 0 : (double) kvBlocksUsed / kvBlocksTotal;
  }
}

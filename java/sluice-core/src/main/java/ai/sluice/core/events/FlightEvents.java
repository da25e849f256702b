package ai.sluice.core.events;

import ai.sluice.api.FinishReason;
import ai.sluice.api.Timings;
import jdk.jfr.Category;
import jdk.jfr.DataAmount;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;
import jdk.jfr.Timespan;

/**
 * Events of Java Flight Recorder. Each kind has an instance that only answers whether the kind is
 * recorded: an event is made only then.
 */
final class FlightEvents implements EngineEvents {
  private final QueueEvent queueProbe = new QueueEvent();
  private final PrefixEvent prefixProbe = new PrefixEvent();
  private final PrefillEvent prefillProbe = new PrefillEvent();
  private final DecodeEvent decodeProbe = new DecodeEvent();
  private final PreemptionEvent preemptionProbe = new PreemptionEvent();
  private final RequestEvent requestProbe = new RequestEvent();

  @Name("ai.sluice.Load")
  @Label("Load Phase")
  @Description("A phase of opening an engine")
  @Category("Sluice")
  @StackTrace(false)
  static final class LoadEvent extends Event {
    @Label("Phase")
    String phase = "";

    @Label("Bytes")
    @DataAmount
    long bytes;
  }

  @Name("ai.sluice.Queue")
  @Label("Request Admitted")
  @Description("A request leaves the queue for the first time")
  @Category("Sluice")
  @StackTrace(false)
  static final class QueueEvent extends Event {
    @Label("Waited")
    @Timespan(Timespan.MICROSECONDS)
    long waited;

    @Label("Prompt Tokens")
    int promptTokens;

    @Label("Priority")
    int priority;
  }

  @Name("ai.sluice.PrefixCache")
  @Label("Prefix Lookup")
  @Description("A request's prompt was looked for in the prefix cache")
  @Category("Sluice")
  @StackTrace(false)
  static final class PrefixEvent extends Event {
    @Label("Prompt Tokens")
    int promptTokens;

    @Label("Hit Tokens")
    int hitTokens;

    @Label("Evicted Blocks")
    @Description("Since the engine opened")
    long evictedBlocks;
  }

  /** What both kinds of steps tell. */
  @Category("Sluice")
  @StackTrace(false)
  abstract static class StepEvent extends Event {
    @Label("Step")
    long step;

    @Label("Tokens")
    int tokens;

    @Label("Prompt Tokens")
    int promptTokens;

    @Label("Sequences")
    int sequences;

    @Label("Output Rows")
    int rows;

    @Label("Device Time")
    @Timespan(Timespan.MICROSECONDS)
    long device;

    @Label("Plan Time")
    @Timespan(Timespan.MICROSECONDS)
    long plan;
  }

  @Name("ai.sluice.Prefill")
  @Label("Prefill Step")
  @Description("A step that computed prompt tokens; others may decode in it")
  static final class PrefillEvent extends StepEvent {}

  @Name("ai.sluice.Decode")
  @Label("Decode Step")
  @Description("A step that computed no prompt tokens")
  static final class DecodeEvent extends StepEvent {}

  @Name("ai.sluice.Preemption")
  @Label("Preemption")
  @Description("A running request gave up its KV blocks, to be computed again later")
  @Category("Sluice")
  @StackTrace(false)
  static final class PreemptionEvent extends Event {
    @Label("Tokens")
    int tokens;

    @Label("Times")
    @Description("That this happened to the request")
    int times;
  }

  @Name("ai.sluice.Request")
  @Label("Request Ended")
  @Category("Sluice")
  @StackTrace(false)
  static final class RequestEvent extends Event {
    @Label("Finish Reason")
    String reason = "";

    @Label("Prompt Tokens")
    int promptTokens;

    @Label("Cached Tokens")
    int cachedTokens;

    @Label("New Tokens")
    int newTokens;

    @Label("Queue Time")
    @Timespan(Timespan.MICROSECONDS)
    long queue;

    @Label("Prefill Time")
    @Timespan(Timespan.MICROSECONDS)
    long prefill;

    @Label("Decode Time")
    @Timespan(Timespan.MICROSECONDS)
    long decode;

    @Label("Total Time")
    @Timespan(Timespan.MICROSECONDS)
    long total;
  }

  @Override
  public Phase load(String phase) {
    LoadEvent event = new LoadEvent();
    event.phase = phase;
    event.begin();
    return bytes -> {
      event.bytes = bytes;
      event.commit();
    };
  }

  @Override
  public void queued(long micros, int promptTokens, int priority) {
    if (queueProbe.isEnabled()) {
      QueueEvent event = new QueueEvent();
      event.waited = micros;
      event.promptTokens = promptTokens;
      event.priority = priority;
      event.commit();
    }
  }

  @Override
  public void prefix(int promptTokens, int hitTokens, long evictedBlocks) {
    if (prefixProbe.isEnabled()) {
      PrefixEvent event = new PrefixEvent();
      event.promptTokens = promptTokens;
      event.hitTokens = hitTokens;
      event.evictedBlocks = evictedBlocks;
      event.commit();
    }
  }

  @Override
  public void step(
      long stepId,
      int tokens,
      int promptTokens,
      int sequences,
      int rows,
      long deviceMicros,
      long planMicros) {
    boolean prefill = promptTokens > 0;
    if (prefill ? prefillProbe.isEnabled() : decodeProbe.isEnabled()) {
      StepEvent event = prefill ? new PrefillEvent() : new DecodeEvent();
      event.step = stepId;
      event.tokens = tokens;
      event.promptTokens = promptTokens;
      event.sequences = sequences;
      event.rows = rows;
      event.device = deviceMicros;
      event.plan = planMicros;
      event.commit();
    }
  }

  @Override
  public void preempted(int tokens, int times) {
    if (preemptionProbe.isEnabled()) {
      PreemptionEvent event = new PreemptionEvent();
      event.tokens = tokens;
      event.times = times;
      event.commit();
    }
  }

  @Override
  public boolean recordsEnds() {
    return requestProbe.isEnabled();
  }

  @Override
  public void ended(
      FinishReason reason, int promptTokens, int cachedTokens, int newTokens, Timings timings) {
    RequestEvent event = new RequestEvent();
    event.reason = reason.name();
    event.promptTokens = promptTokens;
    event.cachedTokens = cachedTokens;
    event.newTokens = newTokens;
    event.queue = timings.queueMicros();
    event.prefill = timings.prefillMicros();
    event.decode = timings.decodeMicros();
    event.total = timings.totalMicros();
    event.commit();
  }
}

package ai.sluice.core.scheduler;

import ai.sluice.api.EngineFailedException;
import ai.sluice.api.FinishReason;
import ai.sluice.api.SluiceException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Tells a sink how its sequence begins and ends. What a sink throws there would end the scheduler's
 * thread, and with it every other sequence, so nothing here throws.
 */
final class GuardedSink {
  private static final Logger LOG = LoggerFactory.getLogger(GuardedSink.class);

  private final TokenSink sink;

  GuardedSink(TokenSink sink) {
    this.sink = sink;
  }

  /** The sequence left the queue. */
  void admitted(int cachedTokens) {
    try {
      sink.admitted(cachedTokens);
    } catch (Throwable e) {
      report("a sink threw when its sequence was admitted; the sequence goes on", e);
    }
  }

  /** The sequence is over; a sink that throws at that is told that it failed. */
  void finished(FinishReason reason, String detail, SequenceTimes times) {
    try {
      sink.finished(reason, detail, times);
    } catch (Throwable e) {
      report("a sink threw at the end of its sequence; its generation fails", e);
      failed(
          new EngineFailedException(
              "generation: ended with " + reason + ", but its result could not be made (expected:"
                  + " no failure; submit the request again): " + e,
              e));
    }
  }

  /** The sequence failed. */
  void failed(SluiceException cause) {
    try {
      sink.failed(cause);
    } catch (Throwable e) {
      report("a sink threw when it was told of a failure", e);
    }
  }

  /** Logging needs memory too, which may be what is lacking. */
  private static void report(String what, Throwable e) {
    try {
      LOG.error(what, e);
    } catch (Throwable secondary) {
      e.addSuppressed(secondary);
    }
  }
}

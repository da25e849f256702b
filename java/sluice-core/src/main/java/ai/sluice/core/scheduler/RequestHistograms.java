package ai.sluice.core.scheduler;

import ai.sluice.api.FinishReason;
import ai.sluice.api.LatencyMetrics;
import ai.sluice.api.SizeMetrics;

/**
 * How long requests take and how large they are. The scheduler's thread writes, without allocating;
 * any thread reads. The bounds of the buckets are the ones that dashboards of other engines use.
 */
final class RequestHistograms {
  private static final double NANOS = 1e9;

  private static final double[] FIRST_TOKEN_SECONDS = {
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40,
    80, 160, 640, 2560
  };

  private static final double[] TOKEN_SECONDS = {
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80
  };

  private static final double[] REQUEST_SECONDS = {
    0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680
  };

  private static final double[] REQUEST_TOKENS = {
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000,
    500_000, 1_000_000
  };

  private static final double[] STEP_TOKENS = {
    1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384
  };

  private final HistogramRecorder firstToken = new HistogramRecorder(NANOS, FIRST_TOKEN_SECONDS);
  private final HistogramRecorder interToken = new HistogramRecorder(NANOS, TOKEN_SECONDS);
  private final HistogramRecorder endToEnd = new HistogramRecorder(NANOS, REQUEST_SECONDS);
  private final HistogramRecorder queue = new HistogramRecorder(NANOS, REQUEST_SECONDS);
  private final HistogramRecorder prefill = new HistogramRecorder(NANOS, REQUEST_SECONDS);
  private final HistogramRecorder decode = new HistogramRecorder(NANOS, REQUEST_SECONDS);
  private final HistogramRecorder inference = new HistogramRecorder(NANOS, REQUEST_SECONDS);
  private final HistogramRecorder promptTokens = new HistogramRecorder(1, REQUEST_TOKENS);
  private final HistogramRecorder newTokens = new HistogramRecorder(1, REQUEST_TOKENS);
  private final HistogramRecorder stepTokens = new HistogramRecorder(1, STEP_TOKENS);

  /** A step was applied. */
  void step(int tokens) {
    stepTokens.record(tokens);
  }

  /** A sequence leaves the queue for the first time. */
  void admitted(Sequence sequence) {
    queue.record(sequence.started - sequence.submitted);
  }

  /**
   * A sequence has new tokens.
   *
   * @param tokens how many
   * @param before when it had the last one before them, or {@link SequenceTimes#NEVER}
   */
  void heard(Sequence sequence, int tokens, long before, long now) {
    int further = tokens;
    if (before == SequenceTimes.NEVER) {
      firstToken.record(now - sequence.submitted);
      further--;
    }
    if (further > 0) {
      interToken.record(before == SequenceTimes.NEVER ? 0 : (now - before) / further, further);
    }
  }

  /** A sequence is over. */
  void ended(Sequence sequence, FinishReason reason, long now) {
    switch (reason) {
      case STOP, TOOL_CALLS, LENGTH, TIMEOUT -> {
        endToEnd.record(now - sequence.submitted);
        promptTokens.record(sequence.promptLength);
        newTokens.record(sequence.numOutputs());
        if (sequence.firstToken != SequenceTimes.NEVER) {
          prefill.record(sequence.firstToken - sequence.started);
          decode.record(sequence.lastToken - sequence.firstToken);
          inference.record(sequence.lastToken - sequence.started);
        }
      }
      default -> { }
    }
  }

  LatencyMetrics latency() {
    return new LatencyMetrics(
        firstToken.snapshot(),
        interToken.snapshot(),
        endToEnd.snapshot(),
        queue.snapshot(),
        prefill.snapshot(),
        decode.snapshot(),
        inference.snapshot());
  }

  SizeMetrics sizes() {
    return new SizeMetrics(
        promptTokens.snapshot(), newTokens.snapshot(), stepTokens.snapshot());
  }
}

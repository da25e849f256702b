package ai.sluice.core.scheduler;

import ai.sluice.api.FinishReason;
import ai.sluice.api.SluiceException;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Remembers what a sequence gave, and that the calls came in order. */
final class RecordingSink implements TokenSink {
  final List<Integer> tokens = new ArrayList<>();
  final List<Float> values = new ArrayList<>();
  volatile @Nullable FinishReason reason;
  volatile @Nullable SluiceException failure;
  volatile @Nullable SequenceTimes times;
  String detail = "";
  int admissions;
  int cachedTokens;
  volatile int failedCalls;
  /** Ends the sequence as a stop string would, after so many tokens. */
  int stopAfter = Integer.MAX_VALUE;
  /** Thrown by the calls of these names instead of doing their work. */
  @Nullable Error broken;

  List<String> brokenCalls = List.of();

  @Override
  public void admitted(int tokens) {
    open();
    breakAt("admitted");
    cachedTokens = tokens;
    admissions++;
  }

  @Override
  public boolean token(int token, boolean stopsHere, StepOutput output, int row, int index) {
    open();
    breakAt("token");
    tokens.add(token);
    return tokens.size() >= stopAfter;
  }

  @Override
  public void values(StepOutput output, int row) {
    open();
    breakAt("values");
    for (int i = 0; i < FakeEngine.HEAD_VALUES; i++) {
      values.add(output.headValue(row, i));
    }
  }

  @Override
  public void finished(FinishReason why, String more, SequenceTimes when) {
    open();
    breakAt("finished");
    detail = more;
    times = when;
    reason = why;
  }

  @Override
  public void failed(SluiceException cause) {
    open();
    failedCalls++;
    breakAt("failed");
    failure = cause;
  }

  private void breakAt(String call) {
    if (broken != null && brokenCalls.contains(call)) {
      throw broken;
    }
  }

  private void open() {
    if (reason != null || failure != null) {
      throw new AssertionError("called after the end");
    }
  }
}

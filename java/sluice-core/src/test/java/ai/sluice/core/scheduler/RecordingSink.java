package ai.sluice.core.scheduler;

import ai.sluice.api.FinishReason;
import ai.sluice.api.SluiceException;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Remembers what a sequence gave, and that the calls came in order. */
final class RecordingSink implements TokenSink {
  final List<Integer> tokens = new ArrayList<>();
  volatile @Nullable FinishReason reason;
  volatile @Nullable SluiceException failure;
  volatile @Nullable SequenceTimes times;
  String detail = "";
  int admissions;
  /** Ends the sequence as a stop string would, after so many tokens. */
  int stopAfter = Integer.MAX_VALUE;

  @Override
  public void admitted() {
    open();
    admissions++;
  }

  @Override
  public boolean token(int token, boolean stopsHere, StepOutput output, int row) {
    open();
    tokens.add(token);
    return tokens.size() >= stopAfter;
  }

  @Override
  public void finished(FinishReason why, String more, SequenceTimes when) {
    open();
    detail = more;
    times = when;
    reason = why;
  }

  @Override
  public void failed(SluiceException cause) {
    open();
    failure = cause;
  }

  private void open() {
    if (reason != null || failure != null) {
      throw new AssertionError("called after the end");
    }
  }
}

package ai.sluice.core;

import ai.sluice.api.ClassificationResult;
import ai.sluice.api.FinishReason;
import ai.sluice.api.SluiceException;
import ai.sluice.api.Usage;
import ai.sluice.core.scheduler.SequenceTimes;
import ai.sluice.core.scheduler.StepOutput;
import ai.sluice.core.scheduler.TokenSink;
import java.util.ArrayList;
import java.util.List;

/** Turns the values of a sequence's last position into a result. Lives on the scheduler's thread. */
final class ClassificationSink implements TokenSink {
  private final WorkFuture<ClassificationResult> future;
  private final int promptTokens;
  private final int numValues;
  private final QueuePlace place;
  private int cachedTokens;
  private List<Float> scores = List.of();

  ClassificationSink(
      WorkFuture<ClassificationResult> future, int promptTokens, int numValues, QueuePlace place) {
    this.future = future;
    this.promptTokens = promptTokens;
    this.numValues = numValues;
    this.place = place;
  }

  @Override
  public void admitted(int tokens) {
    cachedTokens = tokens;
    place.leaveQueue();
  }

  @Override
  public boolean token(int token, boolean stopsHere, StepOutput output, int row, int index) {
    throw new IllegalStateException("a token for a sequence of values (a defect of Sluice)");
  }

  @Override
  public void values(StepOutput output, int row) {
    List<Float> values = new ArrayList<>(numValues);
    for (int i = 0; i < numValues; i++) {
      values.add(output.headValue(row, i));
    }
    scores = values;
  }

  @Override
  public void finished(FinishReason reason, String detail, SequenceTimes times) {
    place.leave();
    ClassificationResult result =
        new ClassificationResult(
            reason == FinishReason.STOP ? scores : List.of(),
            reason,
            detail,
            new Usage(promptTokens, cachedTokens, 0),
            times.timings());
    future.deliver(() -> result);
  }

  @Override
  public void failed(SluiceException cause) {
    try {
      place.leave();
    } finally {
      future.fail(cause);
    }
  }
}

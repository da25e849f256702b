package ai.sluice.core.scheduler;

import ai.sluice.api.FinishReason;
import ai.sluice.api.SluiceException;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Remembers the scores of a sequence. */
final class ScoringSink implements TokenSink {
  /** One score as the sink was told of it. */
  record Score(int position, int token, float logprob, int rank) {}

  final List<Score> scores = new ArrayList<>();
  @Nullable FinishReason reason;
  String detail = "";
  int cachedTokens;
  /** Throws when told of so many scores. */
  int brokenAt = Integer.MAX_VALUE;

  @Override
  public void admitted(int tokens) {
    cachedTokens = tokens;
  }

  @Override
  public boolean token(int token, boolean stopsHere, StepOutput output, int row, int index) {
    throw new AssertionError("a token of a scored sequence");
  }

  @Override
  public void scored(int position, int token, float logprob, int rank) {
    if (reason != null) {
      throw new AssertionError("a score after the end");
    }
    scores.add(new Score(position, token, logprob, rank));
    if (scores.size() == brokenAt) {
      throw new IllegalStateException("broken");
    }
  }

  @Override
  public void finished(FinishReason why, String more, SequenceTimes times) {
    if (reason != null) {
      throw new AssertionError("ended twice");
    }
    reason = why;
    detail = more;
  }

  @Override
  public void failed(SluiceException cause) {
    throw new AssertionError(cause);
  }
}

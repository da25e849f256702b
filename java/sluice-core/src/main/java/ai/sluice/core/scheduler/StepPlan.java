package ai.sluice.core.scheduler;

/** What one planned step was for: the sequence behind each output row. Reused step after step. */
public final class StepPlan {
  final Sequence[] rows;
  int numRows;
  int numTokens;
  int numPromptTokens;
  long stepId;

  /** Creates an empty plan for at most {@code maxRows} output rows. */
  public StepPlan(int maxRows) {
    rows = new Sequence[maxRows];
  }

  /** Tokens in the step. */
  public int numTokens() {
    return numTokens;
  }

  /** Number of the step among those submitted. */
  public long stepId() {
    return stepId;
  }

  void begin(long id) {
    java.util.Arrays.fill(rows, 0, numRows, null);
    numRows = 0;
    numTokens = 0;
    numPromptTokens = 0;
    stepId = id;
  }
}

package ai.sluice.core.scheduler;

import java.util.Arrays;

/**
 * What one planned step was for: its sequences, and the one behind each output row. Reused step
 * after step.
 */
public final class StepPlan {
  final Sequence[] rows;
  int numRows;
  /** The sequences that have tokens in the step, and how many positions each has after it. */
  final Sequence[] sequences;

  final int[] ends;
  private final int[] incarnations;
  private final int[] rowIncarnations;
  int numSequences;
  int numTokens;
  int numPromptTokens;
  long stepId;

  /** Creates an empty plan for at most {@code maxRows} sequences and output rows. */
  public StepPlan(int maxRows) {
    rows = new Sequence[maxRows];
    sequences = new Sequence[maxRows];
    ends = new int[maxRows];
    incarnations = new int[maxRows];
    rowIncarnations = new int[maxRows];
  }

  /** Tokens in the step. */
  public int numTokens() {
    return numTokens;
  }

  /** Number of the step among those submitted. */
  public long stepId() {
    return stepId;
  }

  void addRow(Sequence sequence) {
    rows[numRows] = sequence;
    rowIncarnations[numRows++] = sequence.incarnation;
  }

  /** Whether the sequence of a row still runs as it did when the step was planned. */
  boolean isCurrentRow(int row) {
    return rows[row].runsAs(rowIncarnations[row]);
  }

  /** Whether a sequence of the step still runs as it did when the step was planned. */
  boolean isCurrent(int i) {
    return sequences[i].runsAs(incarnations[i]);
  }

  void add(Sequence sequence, int end) {
    incarnations[numSequences] = sequence.incarnation;
    sequences[numSequences] = sequence;
    ends[numSequences++] = end;
  }

  void begin(long id) {
    Arrays.fill(rows, 0, numRows, null);
    Arrays.fill(sequences, 0, numSequences, null);
    numRows = 0;
    numSequences = 0;
    numTokens = 0;
    numPromptTokens = 0;
    stepId = id;
  }
}

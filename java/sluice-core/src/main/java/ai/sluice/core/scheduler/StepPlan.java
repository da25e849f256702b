package ai.sluice.core.scheduler;

import java.util.Arrays;

/**
 * What one planned step was for: its sequences, and the one behind each output row. Reused step
 * after step.
 */
public final class StepPlan {
  /** Stands for a row that chooses a token or gives values. */
  static final int NO_TARGETS = -1;

  Sequence[] rows;
  /** Where the first target of each row stands among those of the step, or {@link #NO_TARGETS}. */
  int[] rowTargets;
  /** How many drafts each row has. */
  int[] rowDrafts;

  int numRows;
  /** The sequences that have tokens in the step, and how many positions each has without drafts. */
  final Sequence[] sequences;

  final int[] ends;
  private final int[] incarnations;
  private int[] rowIncarnations;
  int numSequences;
  int numTokens;
  int numPromptTokens;
  /** Time that planning took. */
  long planNanos;

  long stepId;

  /**
   * Creates an empty plan for at most {@code maxRows} sequences, and so many output rows before it
   * grows.
   */
  public StepPlan(int maxRows) {
    rows = new Sequence[maxRows];
    rowTargets = new int[maxRows];
    rowDrafts = new int[maxRows];
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

  void addRow(Sequence sequence, int firstTarget, int drafts) {
    if (numRows == rows.length) {
      rows = Arrays.copyOf(rows, 2 * numRows + 1);
      rowTargets = Arrays.copyOf(rowTargets, rows.length);
      rowDrafts = Arrays.copyOf(rowDrafts, rows.length);
      rowIncarnations = Arrays.copyOf(rowIncarnations, rows.length);
    }
    rows[numRows] = sequence;
    rowTargets[numRows] = firstTarget;
    rowDrafts[numRows] = drafts;
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

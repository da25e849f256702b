package ai.sluice.core.scheduler;

import ai.sluice.api.FinishReason;
import ai.sluice.text.TokenConstraint;

/**
 * Takes the results of steps: tokens, values and scores go to their sequences, which may end by
 * them. Not thread-safe; allocates nothing per token.
 */
final class StepApplier {
  /** Ends a sequence wherever it stands. */
  interface Ending {
    void finish(Sequence sequence, FinishReason reason, String detail, long now);
  }

  private final SchedulerCounters counters;
  private final BlockTables tables;
  private final Ending ending;

  /** Of the sequence of the row being taken: its tokens that are counted, when it had the last. */
  private int counted;

  private long lastToken;

  StepApplier(SchedulerCounters counters, BlockTables tables, Ending ending) {
    this.counters = counters;
    this.tables = tables;
    this.ending = ending;
  }

  /** Takes the results of a step, in the order of planning. */
  void apply(StepPlan plan, StepOutput output, long now) {
    counters.applied(plan, output.deviceMicros());
    counters.expertCounts.add(output);
    for (int i = 0; i < plan.numSequences; i++) {
      if (plan.isCurrent(i)) {
        tables.computed(plan.sequences[i], plan.ends[i]);
      }
    }
    for (int row = 0; row < plan.numRows; row++) {
      if (plan.isCurrentRow(row)) {
        Sequence sequence = plan.rows[row];
        counted = sequence.numOutputs();
        lastToken = sequence.lastToken;
        take(plan, output, row, now);
        count(sequence, now);
      }
    }
  }

  private void count(Sequence sequence, long now) {
    counters.heard(sequence, counted, lastToken, now);
    counted = sequence.numOutputs();
  }

  // Whoever has an answer finds it in the metrics: all of it is counted before it is given.
  private void finish(Sequence sequence, FinishReason reason, String detail, long now) {
    count(sequence, now);
    ending.finish(sequence, reason, detail, now);
  }

  private void take(StepPlan plan, StepOutput output, int row, long now) {
    Sequence sequence = plan.rows[row];
    int finite = output.finite(row);
    if (finite != StepOutput.USABLE) {
      refuse(sequence, finite, now);
    } else if (sequence.isScored()) {
      takeScores(sequence, output, row, plan.rowTargets[row], now);
    } else if (sequence.head.givesValues()) {
      takeValues(sequence, output, row, now);
    } else {
      takeTokens(sequence, plan, output, row, now);
    }
  }

  private void refuse(Sequence sequence, int finite, long now) {
    if (finite == StepOutput.NO_TOKEN_ALLOWED) {
      String left =
          sequence.constraint == null
              ? "the logit bias allows no token"
              : "its constraint and the logit bias allow no token in common";
      fail(sequence, left + " (expected: at least one without -Infinity)", now);
      return;
    }
    tables.distrust(sequence);
    int position = sequence.isScored() ? sequence.nextScored + 1 : sequence.numKnown;
    fail(
        sequence,
        "values that are not finite at position " + position
            + " (expected: finite; the weights may be damaged, or the dtype too narrow)",
        now);
  }

  private void fail(Sequence sequence, String detail, long now) {
    finish(sequence, FinishReason.ERROR, detail, now);
  }

  private void takeTokens(
      Sequence sequence, StepPlan plan, StepOutput output, int row, long now) {
    if (sequence.pendingStep == plan.stepId) {
      sequence.clearPending();
    }
    sequence.heard(now);
    int drafts = plan.rowDrafts[row];
    if (drafts == 0) {
      takeToken(sequence, output, row, 0, now);
      return;
    }
    int right = output.acceptedCount(row) - 1;
    counters.draftTokens.addAndGet(drafts);
    counters.acceptedDraftTokens.addAndGet(right);
    sequence.drafter.judge(drafts, right, sequence.numKnown + right + 1);
    for (int i = 0; i <= right; i++) {
      if (i > 0) {
        // The token before was a draft, so its state is there; behind the end nothing counts.
        tables.computed(sequence, sequence.numKnown);
      }
      if (!takeToken(sequence, output, row, i, now)) {
        return;
      }
    }
    sequence.rewind();
  }

  /** Takes one token; false if the sequence is over. */
  private boolean takeToken(Sequence sequence, StepOutput output, int row, int index, long now) {
    int token = output.token(row, index);
    sequence.append(token);
    counters.newTokens.incrementAndGet();
    boolean stopsHere = sequence.stopsAt(token);
    boolean over = stopsHere;
    // A defect in one sequence's constraint or text must not end the others.
    try {
      TokenConstraint constraint = sequence.constraint;
      if (constraint != null) {
        constraint.accept(token);
        over |= constraint.isOver();
      }
    } catch (Throwable e) {
      fail(sequence, "its constraint failed at token " + token + ": " + e, now);
      return false;
    }
    try {
      over |= sequence.sink.token(token, stopsHere, output, row, index);
    } catch (Throwable e) {
      fail(sequence, "the text of token " + token + " failed: " + e, now);
      return false;
    }
    if (over) {
      finish(sequence, FinishReason.STOP, "", now);
      return false;
    }
    if (sequence.numOutputs() == sequence.maxNewTokens) {
      finish(sequence, FinishReason.LENGTH, "", now);
      return false;
    }
    return true;
  }

  private void takeValues(Sequence sequence, StepOutput output, int row, long now) {
    sequence.heard(now);
    try {
      sequence.sink.values(output, row);
    } catch (Throwable e) {
      fail(sequence, "the values could not be taken: " + e, now);
      return;
    }
    finish(sequence, FinishReason.STOP, "", now);
  }

  private void takeScores(
      Sequence sequence, StepOutput output, int row, int first, long now) {
    int position = sequence.nextScored;
    boolean last = position == sequence.promptLength - 1;
    sequence.heard(now);
    try {
      if (sequence.topN > 0) {
        sequence.sink.likeliest(output, row);
      }
      for (int i = 0; i < sequence.targetsAfter(position); i++) {
        sequence.sink.scored(
            position + 1,
            last ? sequence.nextTargets[i] : sequence.token(position + 1),
            output.targetLogprob(first + i),
            output.targetRank(first + i));
      }
    } catch (Throwable e) {
      fail(sequence, "the scores at position " + (position + 1) + " could not be taken: " + e, now);
      return;
    }
    sequence.nextScored++;
    if (sequence.nextScored == sequence.numInputs()) {
      finish(sequence, FinishReason.STOP, "", now);
    }
  }
}

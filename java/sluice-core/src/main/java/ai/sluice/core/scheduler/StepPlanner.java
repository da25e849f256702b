package ai.sluice.core.scheduler;

import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_COUNT_UPDATE;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_LOGIT_BIAS;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_MASK;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_OUTPUT_ROW;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_TARGET;
import static ai.sluice.jni.SluiceAbi.SLUICE_STATE_OP_RESET_SEQ;

import java.util.ArrayList;
import java.util.List;

/**
 * Puts the tokens and output rows of running sequences into one step after another. Not
 * thread-safe; allocates nothing per token.
 *
 * <p>A sequence is planned ahead, with its next token named by the row that makes it, unless a
 * constraint may limit what follows that token, or drafts are proposed from it. Such sequences are
 * held: they go on when their tokens are known, and those that decode all together, so that steps
 * do not part into halves.
 */
final class StepPlanner {
  private final SchedulerLimits limits;
  private final BlockTables tables;
  /** Sequences that cannot go on, with {@link Sequence#defect} set. */
  final List<Sequence> defective = new ArrayList<>();

  // Set by begin().
  private StepPlan plan = new StepPlan(0);
  private StepMessage message;
  private boolean heldInFlight;
  private int draftBudget;
  private int watermark;

  private long lastHeldStep;

  StepPlanner(SchedulerLimits limits, BlockTables tables) {
    this.limits = limits;
    this.tables = tables;
  }

  /**
   * Starts a step.
   *
   * @param lastApplied number of the step that was applied last
   * @param drafts tokens that drafts may take
   * @param draftWatermark blocks of each group that drafts leave
   */
  void begin(
      StepPlan nextPlan,
      StepMessage nextMessage,
      long lastApplied,
      int drafts,
      int draftWatermark) {
    plan = nextPlan;
    message = nextMessage;
    heldInFlight = lastHeldStep > lastApplied;
    draftBudget = drafts;
    watermark = draftWatermark;
  }

  /** Tells the engine of a sequence that was just given its slot. */
  void start(Sequence sequence) {
    message.addStateOp(SLUICE_STATE_OP_RESET_SEQ, 0, 0, sequence.seqSlot);
    for (RopeFrequencies rope : sequence.ropes) {
      message.addRopeUpdate(
          rope.rope(),
          rope.firstVariant() + sequence.seqSlot,
          rope.invFreq(),
          rope.attentionScale());
    }
  }

  /** How many tokens a running sequence could put into this step; 0: it has to wait. */
  int wanted(Sequence sequence) {
    if (sequence.defect != null || sequence.numOutputsPlanned == sequence.maxNewTokens) {
      return 0;
    }
    int unplanned = sequence.numUnplanned();
    if (unplanned > 1 || sequence.isScored()) {
      return unplanned;
    }
    if (unplanned == 1) {
      return heldInFlight && sequence.numOutputs() > 0 && isHeld(sequence) ? 0 : 1;
    }
    // A row reference does not reach further back than the step before.
    boolean ahead = unplanned == 0 && sequence.pendingStep == plan.stepId - 1;
    return ahead && !isHeld(sequence) ? 1 : 0;
  }

  /** Whether a sequence is not planned before it knows its last token. */
  private boolean isHeld(Sequence sequence) {
    return sequence.drafter != null && sequence.drafter.isActive(sequence.numKnown)
        || limits(sequence, 2);
  }

  private boolean limits(Sequence sequence, int tokens) {
    if (sequence.constraint == null) {
      return false;
    }
    try {
      return sequence.constraint.limitsWithin(tokens);
    } catch (Throwable e) {
      fail(sequence, "its constraint failed: " + e);
      return true;
    }
  }

  private void fail(Sequence sequence, String detail) {
    if (sequence.defect == null) {
      sequence.defect = detail;
      defective.add(sequence);
    }
  }

  /**
   * Adds as many of a running sequence's next tokens as there is room for.
   *
   * @param wanted tokens that its blocks are promised for
   */
  void add(Sequence sequence, int wanted) {
    if (!tables.send(sequence, message) || !countCached(sequence)) {
      return;
    }
    tables.freePassed(sequence, message);
    int tokens = Math.min(wanted, limits.maxStepTokens() - message.numTokens());
    tokens = Math.min(tokens, tables.positionsWithin(sequence, message));
    if (sequence.numPlanned < sequence.numRestored && sequence.sampling.countsOutput()) {
      tokens = Math.min(tokens, message.remaining(SLUICE_SECTION_COUNT_UPDATE));
    }
    if (sequence.isScored()) {
      addScored(sequence, positionsWithTargets(sequence, tokens));
      return;
    }
    int mask = StepMessage.NO_MASK;
    boolean chooses = sequence.numPlanned + tokens >= sequence.numKnown;
    if (tokens > 0 && chooses) {
      boolean limited = limits(sequence, 1);
      if (!takesRow(sequence, limited)) {
        tokens--;
        chooses = false;
      } else if (limited) {
        mask = mask(sequence);
      }
    }
    if (tokens <= 0 || sequence.defect != null) {
      return;
    }
    int drafts = chooses && mask == StepMessage.NO_MASK ? drafts(sequence, tokens) : 0;
    addTokens(sequence, tokens, drafts);
    if (chooses) {
      addRow(sequence, drafts, mask);
    }
  }

  /** Makes a draft of what follows a sequence's next tokens; returns how long it is. */
  private int drafts(Sequence sequence, int tokens) {
    Drafter drafter = sequence.drafter;
    int end = sequence.numPlanned + tokens;
    if (drafter == null || end != sequence.numKnown || sequence.head.givesValues()) {
      return 0;
    }
    int most = sequence.maxNewTokens - sequence.numOutputs() - 1;
    most = Math.min(most, draftBudget);
    most = Math.min(most, limits.maxStepTokens() - message.numTokens() - tokens);
    most = Math.min(most, tables.positionsWithin(sequence, message) - tokens);
    int size = drafter.propose(sequence.tokens(), end, most);
    if (size == 0 || limits(sequence, 1 + size)) {
      return 0;
    }
    if (!tables.promise(sequence, tables.blocksFor(end + size), watermark)) {
      size = Math.min(size, tables.positionsPromised(sequence) - end);
    }
    draftBudget -= size;
    return size;
  }

  private boolean takesRow(Sequence sequence, boolean limited) {
    int biases = sequence.sampling.biasTokens().length;
    if (biases > message.capacity(SLUICE_SECTION_LOGIT_BIAS)) {
      fail(
          sequence,
          "biases: " + biases + " (expected: at most "
              + message.capacity(SLUICE_SECTION_LOGIT_BIAS) + ", what a step takes)");
    }
    if (limited && message.capacity(SLUICE_SECTION_MASK) == 0) {
      fail(sequence, "its constraint limits a token (expected: none, steps have no masks)");
    }
    return message.remaining(SLUICE_SECTION_OUTPUT_ROW) > 0
        && message.remaining(SLUICE_SECTION_LOGIT_BIAS) >= biases
        && (!limited || message.takesMask());
  }

  private int mask(Sequence sequence) {
    try {
      return message.addMask(sequence.constraint);
    } catch (Throwable e) {
      fail(sequence, "its constraint failed: " + e);
      return StepMessage.NO_MASK;
    }
  }

  /** Adds a sequence, its next tokens and the drafts that its drafter made last. */
  private void addTokens(Sequence sequence, int tokens, int drafts) {
    int begin = sequence.numPlanned;
    int end = begin + tokens;
    addSequence(sequence, end + drafts);
    for (int position = begin; position < end; position++) {
      addToken(sequence, position);
    }
    for (int i = 0; i < drafts; i++) {
      place(sequence, end + i, sequence.drafter.token(i));
    }
    advance(sequence, end);
    sequence.numPlanned += drafts;
  }

  private void addSequence(Sequence sequence, int contextLen) {
    message.addSequence(sequence.seqSlot, contextLen);
    for (int i = 0; i < sequence.ropes.size(); i++) {
      RopeFrequencies rope = sequence.ropes.get(i);
      message.setRopeVariant(rope.rope(), rope.firstVariant() + sequence.seqSlot);
    }
  }

  private void advance(Sequence sequence, int end) {
    int promptEnd = Math.min(end, sequence.promptLength);
    plan.numPromptTokens += Math.max(0, promptEnd - sequence.numPlanned);
    sequence.numPlanned = end;
    plan.add(sequence, end);
  }

  /** Adds the row that asks for what follows the tokens of the sequence added last. */
  private void addRow(Sequence sequence, int drafts, int mask) {
    HeadChoice head = sequence.head;
    sequence.pendingRow =
        head.givesValues()
            ? message.addHeadRow(head.head())
            : message.addSampleRow(
                sequence.numPlanned - drafts,
                head.head(),
                sequence.seed,
                sequence.sampling,
                sequence.topN,
                drafts,
                mask);
    sequence.pendingStep = plan.stepId;
    sequence.numOutputsPlanned++;
    plan.addRow(sequence, StepPlan.NO_TARGETS, drafts);
    // Prompts that end in every step must not make those that decode wait forever.
    if (sequence.numOutputs() > 0 && isHeld(sequence)) {
      lastHeldStep = plan.stepId;
    }
  }

  /** How many of a scored sequence's next tokens have room for their rows and targets. */
  private int positionsWithTargets(Sequence sequence, int most) {
    int rows = message.remaining(SLUICE_SECTION_OUTPUT_ROW);
    int targets = message.remaining(SLUICE_SECTION_TARGET);
    int tokens = 0;
    while (tokens < most) {
      int needed = sequence.targetsAfter(sequence.numPlanned + tokens);
      if (needed > message.capacity(SLUICE_SECTION_TARGET)) {
        fail(
            sequence,
            "targets: " + needed + " at one position (expected: at most "
                + message.capacity(SLUICE_SECTION_TARGET) + ", what a step takes)");
        return 0;
      }
      if (needed > 0 && (needed > targets || rows == 0)) {
        break;
      }
      targets -= needed;
      rows -= needed > 0 ? 1 : 0;
      tokens++;
    }
    return tokens;
  }

  private void addScored(Sequence sequence, int tokens) {
    if (tokens <= 0) {
      return;
    }
    int begin = sequence.numPlanned;
    int end = begin + tokens;
    addSequence(sequence, end);
    for (int position = begin; position < end; position++) {
      addToken(sequence, position);
      int targets = sequence.targetsAfter(position);
      if (targets > 0) {
        boolean last = position == sequence.promptLength - 1;
        int first =
            message.addTargetRow(
                sequence.head.head(),
                last ? sequence.nextTargets : sequence.tokens(),
                last ? 0 : position + 1,
                targets,
                sequence.topN);
        plan.addRow(sequence, first, 0);
      }
    }
    advance(sequence, end);
  }

  /** Counts found tokens for penalties; false if some have to wait for the next step. */
  private boolean countCached(Sequence sequence) {
    for (; sequence.numCounted < sequence.cachedTokens; sequence.numCounted++) {
      if (!sequence.restoresCount(sequence.numCounted)) {
        continue;
      }
      if (message.remaining(SLUICE_SECTION_COUNT_UPDATE) == 0) {
        return false;
      }
      count(sequence, sequence.numCounted);
    }
    return true;
  }

  private void count(Sequence sequence, int position) {
    int prompt = position < sequence.promptLength ? 1 : 0;
    message.addCountUpdate(sequence.seqSlot, sequence.token(position), prompt, 1 - prompt);
  }

  private void addToken(Sequence sequence, int position) {
    boolean known = position < sequence.numKnown;
    place(sequence, position, known ? sequence.token(position) : -1 - sequence.pendingRow);
    if (sequence.restoresCount(position)) {
      count(sequence, position);
    }
  }

  private void place(Sequence sequence, int position, int id) {
    tables.reach(sequence, position, message);
    message.addToken(id, position);
    tables.setKvSlots(sequence, position, message);
  }
}

package ai.sluice.core.scheduler;

import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_BLOCK_UPDATE;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_ROPE_INV_FREQ;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_ROPE_UPDATE;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_STATE_OP;

import ai.sluice.api.FinishReason;
import ai.sluice.api.SluiceException;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * Puts sequences into steps: decodes first, then chunks of prompts in the order of arrival, then
 * admissions, under a budget of tokens. Pure bookkeeping: it fills a {@link StepMessage}, someone
 * else runs it, and the {@link StepOutput} comes back through {@link #apply}. Steps are applied in
 * the order in which they were planned. Not thread-safe; allocates nothing per token.
 *
 * <p>One step may be planned while the one before it runs. A token that is still being made is then
 * named by its output row ({@code -1 - r}), and what a sequence generates after its end is dropped.
 *
 * <p>Who goes first is decided by priority, then by arrival. A sequence is admitted once there are
 * blocks for all its known tokens, and for those that run to grow. One that lacks a block to grow
 * takes those of the last that runs, which is computed again later; the first that runs is never
 * preempted, so it always ends, and no other more than three times: then it is admitted with all
 * blocks it can ever need. One whose next prompt tokens a running
 * sequence is computing stands aside until they are computed or that sequence has ended; others may
 * pass it, but none that came later can make it wait again for the same tokens.
 */
public final class Scheduler {
  private final SchedulerLimits limits;
  private final SchedulerCounters counters;
  private final BlockTables tables;
  private final StepPlanner planner;
  private final StepApplier applier;
  private final int[] freeSlots;
  private int numFreeSlots;
  private final TreeSet<Sequence> waiting = new TreeSet<>(Sequence::compare);
  /** In the order of who goes first. */
  private final List<Sequence> running = new ArrayList<>();

  private long numArrivals;
  private long nearestDeadline = Sequence.NO_DEADLINE;
  private long lastStepId;
  private long lastApplied;
  /** Whether the last admission failed for want of blocks. */
  private boolean blocked;

  /**
   * Creates a scheduler without sequences.
   *
   * @param limits sizes to keep to
   * @param counters kept up to date
   * @param lastStepId number of the step that the engine ran last, 0 for a new one
   */
  public Scheduler(SchedulerLimits limits, SchedulerCounters counters, long lastStepId) {
    this.limits = limits;
    this.lastStepId = lastStepId;
    this.counters = counters;
    tables = new BlockTables(limits);
    planner = new StepPlanner(limits, tables);
    applier = new StepApplier(counters, tables, this::finish);
    freeSlots = new int[limits.maxSequences()];
    numFreeSlots = freeSlots.length;
    for (int i = 0; i < freeSlots.length; i++) {
      freeSlots[i] = freeSlots.length - 1 - i;
    }
  }

  /** The books of a kv group's blocks, for reading. */
  public BlockPool pool(int group) {
    return tables.pool(group);
  }

  PrefixCache prefixCache() {
    return tables.cache();
  }

  /** Whether no sequence waits or runs. */
  public boolean isIdle() {
    return waiting.isEmpty() && running.isEmpty();
  }

  /** When {@link #expire} must be called next, or {@link Sequence#NO_DEADLINE}. */
  public long nearestDeadline() {
    return nearestDeadline;
  }

  /** Queues a sequence whose worst case fits the pools. Each is added once. */
  public void add(Sequence sequence) {
    int blocks = tables.blocksFor(sequence.worstCasePositions());
    for (int most : limits.numBlocks()) {
      if (blocks > most) {
        throw new IllegalArgumentException(
            "sequence: " + blocks + " blocks (expected: at most " + most + ")");
      }
    }
    sequence.arrival = numArrivals++;
    if (sequence.leader != null) {
      sequence.leader.numForks++;
    }
    waiting.add(sequence);
    nearestDeadline = Math.min(nearestDeadline, sequence.nextDeadline());
    publish();
  }

  /** Ends a sequence wherever it stands. One that is over already stays as it is. */
  public void finish(Sequence sequence, FinishReason reason, String detail, long now) {
    if (sequence.state == Sequence.State.FINISHED) {
      return;
    }
    try {
      end(sequence);
    } finally {
      counters.ended(sequence, reason, now);
      sequence.tellFinished(reason, detail, now);
    }
  }

  /** Takes a sequence out of the books. */
  private void end(Sequence sequence) {
    boolean queued = sequence.state == Sequence.State.WAITING;
    sequence.state = Sequence.State.FINISHED;
    if (queued) {
      waiting.remove(sequence);
      sequence.leaveLeader();
    } else {
      running.remove(sequence);
      tables.release(sequence);
      freeSlots[numFreeSlots++] = sequence.seqSlot;
    }
    publish();
  }

  /** Ends every sequence because the engine failed. */
  public void failAll(SluiceException cause) {
    while (!isIdle()) {
      Sequence sequence = waiting.isEmpty() ? running.get(running.size() - 1) : waiting.last();
      try {
        end(sequence);
      } finally {
        counters.finished(FinishReason.ERROR).incrementAndGet();
        sequence.tellFailed(cause);
      }
    }
  }

  /** Ends every sequence. */
  public void finishAll(FinishReason reason, String detail, long now) {
    while (!waiting.isEmpty()) {
      finish(waiting.last(), reason, detail, now);
    }
    while (!running.isEmpty()) {
      finish(running.get(running.size() - 1), reason, detail, now);
    }
  }

  /** Ends sequences whose time is over. */
  public void expire(long now) {
    if (now < nearestDeadline) {
      return;
    }
    List<Sequence> late = new ArrayList<>();
    nearestDeadline = collectLate(waiting.iterator(), late, now, Sequence.NO_DEADLINE);
    nearestDeadline = collectLate(running.iterator(), late, now, nearestDeadline);
    for (Sequence sequence : late) {
      finish(sequence, FinishReason.TIMEOUT, sequence.lateness(now), now);
    }
  }

  private static long collectLate(
      Iterator<Sequence> sequences, List<Sequence> late, long now, long nearest) {
    while (sequences.hasNext()) {
      Sequence sequence = sequences.next();
      long deadline = sequence.nextDeadline();
      if (deadline <= now) {
        late.add(sequence);
      } else {
        nearest = Math.min(nearest, deadline);
      }
    }
    return nearest;
  }

  /**
   * Plans the next step.
   *
   * @param plan receives what the step is for
   * @param message receives the step, complete but for being submitted
   * @return false if there is nothing to compute; the message must then not be submitted
   */
  public boolean plan(StepPlan plan, StepMessage message, long now) {
    do {
      plan.begin(lastStepId + 1);
      message.begin();
      planner.begin(plan, message, lastApplied, draftBudget(), watermark());
      long preemptions = counters.preemptions.get();
      scheduleRunning(true);
      scheduleRunning(false);
      if (preemptions == counters.preemptions.get()) {
        admitWaiting(message, now);
      }
      tables.endStep();
      // Who ends here may make room for others, without whom there would be no step to wait for.
    } while (endDefective(now) && message.isEmpty());
    publish();
    if (message.isEmpty()) {
      return false;
    }
    plan.numTokens = message.numTokens();
    message.end(++lastStepId);
    return true;
  }

  /** Tokens of a step that nothing but drafts would fill. */
  private int draftBudget() {
    long others = 0;
    boolean drafts = false;
    for (int i = 0; i < running.size(); i++) {
      Sequence sequence = running.get(i);
      drafts |= sequence.drafter != null;
      others += Math.max(1, sequence.numUnplanned());
    }
    if (!drafts) {
      return 0;
    }
    if (numFreeSlots > 0 && !blocked && !waiting.isEmpty()) {
      Iterator<Sequence> queue = waiting.iterator();
      while (queue.hasNext() && others < limits.maxStepTokens()) {
        Sequence sequence = queue.next();
        others += sequence.leader != null || sequence.awaitsPrefix() ? 1 : sequence.numKnown;
      }
    }
    return (int) Math.max(0, limits.maxStepTokens() - others);
  }

  private boolean endDefective(long now) {
    if (planner.defective.isEmpty()) {
      return false;
    }
    for (Sequence sequence : planner.defective) {
      finish(sequence, FinishReason.ERROR, sequence.defect, now);
    }
    planner.defective.clear();
    return true;
  }

  private void scheduleRunning(boolean decodes) {
    int i = 0;
    while (i < running.size()) {
      Sequence sequence = running.get(i);
      if (sequence.numUnplanned() <= 1 == decodes) {
        schedule(sequence);
      }
      // It may have preempted itself; the others that it preempts come after it.
      if (sequence.state == Sequence.State.RUNNING) {
        i++;
      }
    }
  }

  /** Takes blocks from those who go last until a sequence has enough; false if it has to wait. */
  private boolean provide(Sequence sequence, int blocks) {
    while (!tables.promise(sequence, blocks)) {
      Sequence last = lastPreemptible();
      if (last == null) {
        return false;
      }
      preempt(last);
      if (last == sequence) {
        return false;
      }
    }
    return true;
  }

  private @Nullable Sequence lastPreemptible() {
    for (int i = running.size() - 1; i > 0; i--) {
      if (!running.get(i).isPinned()) {
        return running.get(i);
      }
    }
    return null;
  }

  void preempt(Sequence sequence) {
    running.remove(sequence);
    tables.preempt(sequence);
    freeSlots[numFreeSlots++] = sequence.seqSlot;
    sequence.restart();
    waiting.add(sequence);
    counters.preempted(sequence);
  }

  private void admitWaiting(StepMessage message, long now) {
    blocked = false;
    if (waiting.isEmpty()) {
      return;
    }
    // A look-up takes as long as a prompt has blocks, and thousands may begin to wait at once.
    int lookUps = limits.maxSequences();
    Iterator<Sequence> queue = waiting.iterator();
    while (queue.hasNext() && numFreeSlots > 0 && lookUps > 0 && hasRoom(message)) {
      Sequence sequence = queue.next();
      if (sequence.awaitsLeader() || sequence.awaitsPrefix()) {
        continue;
      }
      if (sequence.leader != null && !tables.canGive(sequence.leader, sequence)) {
        sequence.leaveLeader();
      }
      if (!hasRoomForRopes(sequence, message)) {
        return;
      }
      BlockTables.Admission admission = tables.admit(sequence, watermark(), message);
      if (admission == BlockTables.Admission.NO_ROOM) {
        blocked = true;
        return;
      }
      if (admission == BlockTables.Admission.ADMITTED) {
        queue.remove();
        start(sequence);
        if (sequence.started == SequenceTimes.NEVER) {
          welcome(sequence, now);
        }
        schedule(sequence);
      } else {
        lookUps--;
      }
    }
  }

  /** Blocks of each group that an admission leaves, so that those who run can grow for a while. */
  private int watermark() {
    return running.size();
  }

  private void welcome(Sequence sequence, long now) {
    sequence.started = now;
    counters.admitted(sequence);
    sequence.tellAdmitted();
  }

  private boolean hasRoom(StepMessage message) {
    return message.numTokens() < limits.maxStepTokens()
        && message.remaining(SLUICE_SECTION_STATE_OP) > 0
        && message.remaining(SLUICE_SECTION_BLOCK_UPDATE) >= limits.numBlocks().length;
  }

  private static boolean hasRoomForRopes(Sequence sequence, StepMessage message) {
    int frequencies = 0;
    for (RopeFrequencies rope : sequence.ropes) {
      frequencies += rope.invFreq().length;
    }
    return message.remaining(SLUICE_SECTION_ROPE_UPDATE) >= sequence.ropes.size()
        && message.remaining(SLUICE_SECTION_ROPE_INV_FREQ) >= frequencies;
  }

  /** Gives a sequence that has its blocks a slot. */
  private void start(Sequence sequence) {
    sequence.seqSlot = freeSlots[--numFreeSlots];
    sequence.state = Sequence.State.RUNNING;
    int at = running.size();
    while (at > 0 && Sequence.compare(sequence, running.get(at - 1)) < 0) {
      at--;
    }
    running.add(at, sequence);
    sequence.numCounted = 0;
    sequence.numRestored = sequence.numKnown;
    planner.start(sequence);
  }

  /** Adds a running sequence's next tokens to the step, if it has any and there is room. */
  private void schedule(Sequence sequence) {
    int tokens = planner.wanted(sequence);
    if (tokens > 0 && provide(sequence, tables.blocksFor(sequence.numPlanned + tokens))) {
      planner.add(sequence, tokens);
    }
  }

  /**
   * Takes the results of a step, in the order of planning.
   *
   * @param plan what the step was for
   * @param output what it gave
   */
  public void apply(StepPlan plan, StepOutput output, long now) {
    applier.apply(plan, output, now);
    lastApplied = plan.stepId;
    publish();
  }

  private void publish() {
    counters.waiting.set(waiting.size());
    counters.running.set(running.size());
    counters.usedBlocks.set(tables.used());
    counters.cachedBlocks.set(tables.cached());
    counters.prefixEvictions.set(tables.evictions());
  }
}

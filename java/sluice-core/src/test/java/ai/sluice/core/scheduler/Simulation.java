package ai.sluice.core.scheduler;

import static ai.sluice.core.scheduler.FakeStep.check;

import ai.sluice.api.EngineFailedException;
import ai.sluice.api.FinishReason;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.jspecify.annotations.Nullable;

/**
 * Random arrivals of related prompts, cancels, timeouts and failures against a model that notices
 * every wrong block, for one seed. Sizes, depth and habits are drawn from the seed too. Every call
 * that a sequence gets is compared with what it would get alone, and the books are checked after
 * every step.
 */
final class Simulation {
  /** Turns in which who goes first must end. */
  private static final int LONGEST_LEAD = 1500;

  private static final int MAX_CONTEXT = 60;

  final SchedulerCounters counters = new SchedulerCounters();
  final int depth;
  private final Random random;
  private final FakeSizes sizes;
  private final SchedulerLimits limits;
  private final int longestQueue;
  private final boolean repetitive;
  private final int notFiniteOneIn;
  private final BookCheck books;
  private final StepMessage[] messages;
  private final StepOutput[] outputs;
  private final StepPlan[] plans;
  private final List<SimulatedCase> open = new ArrayList<>();
  private final Arrivals arrivals;
  /** Told of everything that happened. */
  final Tally tally = new Tally();

  private FakeEngine engine;
  private Scheduler scheduler;
  private long failAtTurn;
  private boolean failed;
  private @Nullable String wrong;
  private @Nullable SimulatedCase leader;
  private int lead;
  private int emptySteps;
  private long now = 1000;
  private int inFlight;
  private int nextSlot;

  Simulation(long seed) {
    random = new Random(seed);
    depth = 1 + (int) Math.floorMod(seed, 3L);
    int groups = 1 + random.nextInt(2);
    int ropes = random.nextInt(2);
    boolean priorities = random.nextInt(3) == 0;
    longestQueue = 1 + random.nextInt(24);
    repetitive = random.nextInt(3) > 0;
    notFiniteOneIn = random.nextInt(3) == 0 ? 0 : 200 + random.nextInt(2000);
    int maxSequences = 1 + random.nextInt(7);
    int blockSize = random.nextInt(4) == 0 ? 4 : 8;
    int blocks = (MAX_CONTEXT + blockSize - 1) / blockSize + random.nextInt(14);
    int[] retention = new int[groups];
    for (int g = 0; g < groups; g++) {
      retention[g] = random.nextInt(2) == 0 ? 0 : 2 + random.nextInt(25);
    }
    limits = new SchedulerLimits(
        maxSequences, maxSequences + random.nextInt(30), blockSize,
        groups == 1 ? new int[] {blocks} : new int[] {blocks, blocks + 3}, retention);
    sizes = new FakeSizes(
        depth, groups, ropes, MAX_CONTEXT, 3, random.nextInt(5),
        maxSequences + random.nextInt(20), groups + random.nextInt(10), 1 + random.nextInt(20),
        4 + random.nextInt(4), 5 + random.nextInt(20), 1 + random.nextInt(2 * maxSequences));
    books = new BookCheck(limits);
    arrivals = new Arrivals(this, random, sizes, blockSize, priorities);
    messages = new StepMessage[depth];
    outputs = new StepOutput[depth];
    plans = new StepPlan[depth];
    open();
  }

  /** A new engine and what goes with it. */
  private void open() {
    engine = new FakeEngine(sizes, limits);
    engine.repetitive = repetitive;
    engine.notFiniteOneIn = notFiniteOneIn;
    scheduler = new Scheduler(limits, counters, 0);
    for (int i = 0; i < depth; i++) {
      messages[i] = engine.message(i);
      outputs[i] = engine.outputOf(i);
      plans[i] = new StepPlan(sizes.rows());
    }
    inFlight = 0;
    nextSlot = 0;
    failed = false;
    failAtTurn = now + 100 + random.nextInt(20_000);
  }

  boolean repetitive() {
    return repetitive;
  }

  int notFiniteOneIn() {
    return notFiniteOneIn;
  }

  boolean isFailed() {
    return failed;
  }

  long now() {
    return now;
  }

  /** Takes part of what happened into the sum that two runs of a seed share. */
  void note(int event) {
    tally.sum = tally.sum * 31 + event + now;
  }

  /** Remembers what was wrong first. */
  void wrong(String what, SimulatedCase at) {
    if (wrong == null) {
      wrong = what + "; " + at;
    }
  }

  void run(int steps) {
    for (int step = 0; step < steps; step++) {
      try {
        if (random.nextInt(3) == 0 && counters.waiting.get() < longestQueue) {
          arrive();
        }
        if (random.nextInt(25) == 0) {
          cancel();
        }
        turn();
      } catch (Throwable e) {
        throw new AssertionError("step " + step, e);
      }
    }
    for (int i = 0; !scheduler.isIdle() || inFlight > 0; i++) {
      check(i < 20_000, "work exists, but nothing ends");
      turn();
    }
    close();
    check(tally.cachedTokens == counters.prefixHitTokens.get(), "prefix hit tokens");
  }

  /** The end of an engine that has nothing left to do. */
  private void close() {
    check(open.isEmpty(), "a sequence was lost");
    for (int g = 0; g < limits.numBlocks().length; g++) {
      check(scheduler.pool(g).used() == 0 && scheduler.pool(g).promised() == 0, "a block leaked");
      tally.evictions += scheduler.pool(g).evictions();
    }
    tally.add(engine);
  }

  private void cancel() {
    SimulatedCase victim = arrivals.recent();
    if (!open.isEmpty() && random.nextInt(3) > 0) {
      victim = open.get(random.nextInt(open.size()));
    }
    if (victim != null) {
      victim.cancelAsked = true;
      scheduler.finish(victim.sequence, FinishReason.CANCELLED, "asked", now);
      endTurn();
    }
  }

  private void arrive() {
    SimulatedCase first = arrivals.next();
    add(first);
    if (first.kind == SimulatedCase.Kind.TOKENS && random.nextInt(8) == 0) {
      for (int forks = 1 + random.nextInt(3); forks > 0; forks--) {
        add(arrivals.fork(first));
      }
    }
  }

  private void add(SimulatedCase added) {
    tally.arrivals++;
    open.add(added);
    scheduler.add(added.sequence);
  }

  private void turn() {
    now++;
    scheduler.expire(now);
    for (int i = 0; i < open.size(); i++) {
      SimulatedCase c = open.get(i);
      check(
          c.isOver() || !c.isLate(c.sequence.started, c.sequence.firstToken),
          "its time is over, but it is not");
    }
    try {
      while (inFlight < depth && plan()) {
        check(plans[nextSlot].numTokens() <= limits.maxStepTokens(), "too many tokens");
        engine.submit(nextSlot);
        nextSlot = (nextSlot + 1) % depth;
        inFlight++;
        endTurn();
      }
      if (inFlight > 0) {
        int oldest = Math.floorMod(nextSlot - inFlight, depth);
        if (now >= failAtTurn) {
          engine.failAtStep = 0;
        }
        check(engine.await(oldest, 0), "await");
        inFlight--;
        scheduler.apply(plans[oldest], outputs[oldest], now);
      }
    } catch (EngineFailedException e) {
      fail(e);
    }
    endTurn();
    checkLead();
  }

  /** The engine failed: everyone is told once, nothing is held any more, and a new one opens. */
  private void fail(EngineFailedException cause) {
    failed = true;
    scheduler.failAll(cause);
    for (SimulatedCase c : open) {
      check(c.failed || c.reason != null, "not told of the failure");
      tally.failed += c.failed ? 1 : 0;
    }
    endTurn();
    check(scheduler.isIdle(), "work after a failure");
    close();
    open();
  }

  /** Plans a step, which must not preempt who goes first. */
  private boolean plan() {
    Sequence first = null;
    for (int i = 0; i < open.size(); i++) {
      Sequence s = open.get(i).sequence;
      if (s.state == Sequence.State.RUNNING && (first == null || Sequence.compare(s, first) < 0)) {
        first = s;
      }
    }
    int before = first == null ? 0 : first.numPreemptions;
    boolean planned = scheduler.plan(plans[nextSlot], messages[nextSlot], now);
    check(first == null || first.numPreemptions == before, "the first was preempted");
    check(planned || inFlight > 0 || scheduler.isIdle(), "work exists, but no step");
    if (planned) {
      emptySteps = plans[nextSlot].numTokens() > 0 ? 0 : emptySteps + 1;
      check(emptySteps < 100, "steps without tokens", emptySteps);
    }
    return planned;
  }

  /** Who goes first, whatever its state, ends in time. */
  private void checkLead() {
    SimulatedCase first = null;
    for (int i = 0; i < open.size(); i++) {
      SimulatedCase c = open.get(i);
      if (first == null || Sequence.compare(c.sequence, first.sequence) < 0) {
        first = c;
      }
    }
    lead = first == leader ? lead + 1 : 0;
    leader = first;
    check(first == null || lead < LONGEST_LEAD, "who goes first does not end", lead);
  }

  private void endTurn() {
    if (wrong != null) {
      throw new AssertionError(wrong);
    }
    for (int i = open.size() - 1; i >= 0; i--) {
      SimulatedCase c = open.get(i);
      check(
          c.isOver() == (c.sequence.state == Sequence.State.FINISHED), "ended, but was not told");
      if (c.isOver()) {
        tally.add(c);
        open.set(i, open.get(open.size() - 1));
        open.remove(open.size() - 1);
      }
    }
    books.check(scheduler, open);
    check(
        counters.waiting.get() + counters.running.get() == open.size(), "counted sequences",
        open.size());
  }
}

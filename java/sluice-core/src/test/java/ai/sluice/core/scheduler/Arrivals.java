package ai.sluice.core.scheduler;

import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.jspecify.annotations.Nullable;

/** Draws the sequences of a {@link Simulation}. */
final class Arrivals {
  private static final HeadChoice TOKENS = HeadChoice.tokens(0);
  private static final HeadChoice VALUES =
      new HeadChoice(FakeModel.VALUES_HEAD, FakeModel.HEAD_VALUES);
  private static final int RECENT = 8;

  private final Simulation simulation;
  private final Random random;
  private final FakeSizes sizes;
  private final int blockSize;
  private final boolean priorities;
  private final SimulatedCase[] recent = new SimulatedCase[RECENT];
  private int numDrawn;

  Arrivals(
      Simulation simulation, Random random, FakeSizes sizes, int blockSize, boolean priorities) {
    this.simulation = simulation;
    this.random = random;
    this.sizes = sizes;
    this.blockSize = blockSize;
    this.priorities = priorities;
  }

  /** One of those drawn last, which may be over; null at the beginning. */
  @Nullable SimulatedCase recent() {
    return recent[random.nextInt(RECENT)];
  }

  private boolean oneIn(int chances) {
    return random.nextInt(chances) == 0;
  }

  /** Draws one that shares nothing but tokens with others. */
  SimulatedCase next() {
    int draw = random.nextInt(32);
    SimulatedCase.Kind kind =
        draw < 2
            ? SimulatedCase.Kind.VALUES
            : draw < 5 ? SimulatedCase.Kind.SCORES : SimulatedCase.Kind.TOKENS;
    boolean biased = oneIn(4);
    SamplingParams sampling = new SamplingParams(
        random.nextInt(2), 0, 1, 0, oneIn(3) ? 1.5f : 1, oneIn(3) ? 0.5f : 0, 0,
        biased ? new int[] {3, 5} : new int[0], biased ? new float[] {2, -1} : new float[0]);
    SimulatedCase c = new SimulatedCase(simulation, kind, prompt(), sampling, random.nextLong());
    c.frequency = sizes.ropes() > 0 && oneIn(2) ? 0.5 + random.nextInt(2) : 0;
    c.salt = oneIn(8) ? null : oneIn(6) ? "other" : "";
    c.priority = priorities ? random.nextInt(3) - 1 : 0;
    return complete(c);
  }

  /** Draws another continuation of a sequence's prompt. */
  SimulatedCase fork(SimulatedCase leader) {
    int[] prompt = Arrays.copyOf(leader.tokens(), leader.promptLength);
    SimulatedCase c =
        new SimulatedCase(
            simulation, SimulatedCase.Kind.TOKENS, prompt, leader.sampling, random.nextLong());
    c.frequency = leader.frequency;
    c.salt = leader.salt;
    c.priority = leader.priority;
    c.isFork = true;
    complete(c);
    c.leader = leader;
    c.sequence.forkOf(leader.sequence);
    if (oneIn(2)) {
      c.sequence.prepareAs(leader.sequence);
      c.maxDraftLen = leader.maxDraftLen;
    }
    return c;
  }

  private SimulatedCase complete(SimulatedCase c) {
    long now = simulation.now();
    c.stopAfter = oneIn(5) ? 1 + random.nextInt(10) : Integer.MAX_VALUE;
    c.deadline = oneIn(12) ? now + random.nextInt(60) : Sequence.NO_DEADLINE;
    c.queueDeadline = oneIn(12) ? now + random.nextInt(40) : Sequence.NO_DEADLINE;
    c.firstTokenDeadline = oneIn(12) ? now + random.nextInt(40) : Sequence.NO_DEADLINE;
    boolean ofTokens = c.kind == SimulatedCase.Kind.TOKENS;
    c.maxNew = ofTokens ? 1 + random.nextInt(sizes.maxContext() - c.promptLength) : 1;
    List<RopeFrequencies> ropes =
        c.frequency == 0
            ? List.of()
            : List.of(new RopeFrequencies(0, 1, new double[] {c.frequency}, 1));
    Sequence sequence = new Sequence(
        Arrays.copyOf(c.tokens(), c.promptLength), c.maxNew,
        c.kind == SimulatedCase.Kind.VALUES ? VALUES : TOKENS, c.sampling, c.seed,
        random.nextInt(sizes.maxTopN() + 2) - 1, new int[] {FakeModel.EOS}, ropes, now,
        c.deadline, c);
    sequence.expire(c.queueDeadline, c.firstTokenDeadline);
    if (c.kind == SimulatedCase.Kind.SCORES) {
      int[] next = random.ints(random.nextInt(5), 0, FakeModel.VOCAB).toArray();
      int first = 1 + random.nextInt(c.promptLength);
      if (first == c.promptLength && next.length == 0) {
        next = new int[] {7};
      }
      c.score(first, next);
      sequence.score(first, next.clone());
    }
    if (ofTokens && oneIn(4)) {
      long drawn = random.nextLong();
      c.constraint = new FakeConstraint(drawn);
      FakeConstraint driven = new FakeConstraint(drawn);
      c.limitsBreak = oneIn(12);
      driven.breaksAt = c.limitsBreak ? random.nextInt(12) : Integer.MAX_VALUE;
      sequence.constrain(driven);
    }
    if (ofTokens && oneIn(2)) {
      c.maxDraftLen = random.nextInt(sizes.maxDraftLen() + 1);
      sequence.speculate(c.maxDraftLen);
    }
    c.breaksAt = oneIn(24) ? 1 + random.nextInt(10) : Integer.MAX_VALUE;
    if (oneIn(6)) {
      // Three preemptions of one sequence are rare; this one had some before.
      sequence.numPreemptions = 1 + random.nextInt(3);
    }
    sequence.prioritize(c.priority);
    if (c.salt != null) {
      sequence.cachePrefix(c.salt, blockSize);
    }
    c.begin(sequence);
    recent[numDrawn++ % RECENT] = c;
    return c;
  }

  /** A new prompt, or one that goes on from any point of an earlier sequence. */
  private int[] prompt() {
    int length = 1 + random.nextInt(sizes.maxContext() * 2 / 3);
    int[] prompt = new int[length];
    // Some repeat themselves, and what they repeat may go on in their output.
    int period = oneIn(2) ? 1 + random.nextInt(6) : length;
    for (int i = 0; i < length; i++) {
      prompt[i] =
          i < period || oneIn(12)
              ? 1 + random.nextInt(FakeModel.VOCAB - 1)
              : prompt[i - period];
    }
    SimulatedCase earlier = recent();
    if (earlier != null && random.nextInt(4) > 0) {
      int shared = Math.min(random.nextInt(earlier.numTokens + 1), length);
      System.arraycopy(earlier.tokens(), 0, prompt, 0, shared);
    }
    return prompt;
  }
}

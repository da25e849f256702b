package ai.sluice.core.scheduler;

import java.util.List;
import java.util.Random;
import org.jspecify.annotations.Nullable;

/** Draws the sequences of a {@link Simulation}. */
final class Arrivals {
  private static final HeadChoice TOKENS = HeadChoice.tokens(0);
  private static final HeadChoice VALUES =
      new HeadChoice(FakeModel.VALUES_HEAD, FakeModel.HEAD_VALUES);

  private Arrivals() {}

  /** Draws one sequence; a fork if {@code recent} has one to fork. */
  static SimulatedCase next(
      Random random, @Nullable SimulatedCase[] recent, FakeSizes sizes, SchedulerLimits limits,
      Simulation simulation, boolean priorities) {
    int[] prompt = prompt(random, recent, sizes.maxContext());
    SimulatedCase.Kind kind = SimulatedCase.Kind.TOKENS;
    if (random.nextInt(16) == 0) {
      kind = SimulatedCase.Kind.VALUES;
    }
    int maxNew =
        kind == SimulatedCase.Kind.TOKENS
            ? 1 + random.nextInt(sizes.maxContext() - prompt.length)
            : 1;
    boolean biased = random.nextInt(4) == 0;
    SamplingParams sampling = new SamplingParams(
        random.nextInt(2), 0, 1, 0, random.nextInt(3) == 0 ? 1.5f : 1,
        random.nextInt(3) == 0 ? 0.5f : 0, 0, biased ? new int[] {3, 5} : new int[0],
        biased ? new float[] {2, -1} : new float[0]);
    long seed = random.nextLong();
    double frequency =
        sizes.ropes() > 0 && random.nextInt(2) == 0 ? 0.5 + random.nextInt(2) : 0;
    List<RopeFrequencies> ropes = frequency == 0
        ? List.of()
        : List.of(new RopeFrequencies(0, 1, new double[] {frequency}, 1));
    SimulatedCase c =
        new SimulatedCase(simulation, kind, prompt, maxNew, sampling, seed, frequency);
    long now = simulation.now();
    if (random.nextInt(5) == 0) {
      c.stopAfter = 1 + random.nextInt(10);
    }
    if (random.nextInt(12) == 0) {
      c.deadline = now + random.nextInt(60);
    }
    Sequence sequence = new Sequence(
        prompt.clone(), maxNew, kind == SimulatedCase.Kind.VALUES ? VALUES : TOKENS, sampling,
        seed, random.nextInt(sizes.maxTopN() + 2) - 1, new int[] {FakeModel.EOS}, ropes, now,
        c.deadline, c);
    c.sequence = sequence;
    if (random.nextInt(6) == 0) {
      // Three preemptions of one sequence are rare; this one had some before.
      sequence.numPreemptions = 1 + random.nextInt(3);
    }
    if (priorities) {
      sequence.prioritize(random.nextInt(3) - 1);
    }
    if (random.nextInt(8) > 0) {
      sequence.cachePrefix(random.nextInt(6) == 0 ? "other" : "", limits.blockSize());
    }
    return c;
  }

  /** A new prompt, or one that goes on from any point of an earlier sequence. */
  private static int[] prompt(
      Random random, @Nullable SimulatedCase[] recent, int maxContext) {
    int length = 1 + random.nextInt(maxContext * 2 / 3);
    int[] prompt = new int[length];
    // Some repeat themselves, and what they repeat may go on in their output.
    int period = random.nextInt(2) == 0 ? 1 + random.nextInt(6) : length;
    for (int i = 0; i < length; i++) {
      prompt[i] =
          i < period || random.nextInt(12) == 0
              ? 1 + random.nextInt(FakeModel.VOCAB - 1)
              : prompt[i - period];
    }
    SimulatedCase earlier = recent[random.nextInt(recent.length)];
    if (earlier != null && random.nextInt(4) > 0) {
      int shared = Math.min(random.nextInt(earlier.numTokens + 1), length);
      for (int i = 0; i < shared; i++) {
        prompt[i] = earlier.token(i);
      }
    }
    return prompt;
  }
}

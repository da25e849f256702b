package ai.sluice.core.scheduler;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.FinishReason;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** What is found of a prompt, what is kept and what is given up, with blocks of 8 tokens. */
class PrefixCacheTest {
  private static final int CONTEXT = 96;
  private static final SamplingParams PENALTY =
      new SamplingParams(0, 0, 1, 0, 1.5f, 0, 0, new int[0], new float[0]);

  /** A scheduler of one kv group, and its fake engine, one step at a time. */
  private static final class Bench {
    final SchedulerLimits limits;
    final FakeEngine engine;
    final SchedulerCounters counters = new SchedulerCounters();
    final Scheduler scheduler;
    final StepMessage message;
    final StepPlan plan = new StepPlan(4);

    Bench(int blocks, int retention, int stepTokens, int blockUpdates, int countUpdates) {
      limits =
          new SchedulerLimits(4, stepTokens, 8, new int[] {blocks}, new int[] {retention});
      engine = new FakeEngine(1, 1, 1, limits, CONTEXT, 2, blockUpdates, countUpdates, 8);
      scheduler = new Scheduler(limits, counters, 0);
      message = engine.message(0);
    }

    Bench(int blocks) {
      this(blocks, 0, 64, 32, 64);
    }

    boolean step() {
      if (!scheduler.plan(plan, message, 1)) {
        return false;
      }
      engine.submit(0);
      engine.await(0, 0);
      scheduler.apply(plan, engine.outputOf(0), 1);
      return true;
    }

    Sequence add(int[] prompt, int maxNew, RecordingSink sink) {
      return add(prompt, maxNew, SamplingParams.GREEDY, List.of(), 1, "", sink);
    }

    Sequence add(
        int[] prompt, int maxNew, SamplingParams sampling, List<RopeFrequencies> ropes, long seed,
        String salt, RecordingSink sink) {
      Sequence sequence =
          new Sequence(prompt, maxNew, HeadChoice.tokens(0), sampling, seed, Sequence.NO_LOGPROBS,
              new int[0], ropes, 0, Sequence.NO_DEADLINE, sink);
      sequence.cachePrefix(salt, limits.blockSize());
      scheduler.add(sequence);
      return sequence;
    }

    RecordingSink run(int[] prompt, int maxNew) {
      return run(prompt, maxNew, SamplingParams.GREEDY, List.of(), 1, "");
    }

    RecordingSink run(
        int[] prompt, int maxNew, SamplingParams sampling, List<RopeFrequencies> ropes, long seed,
        String salt) {
      RecordingSink sink = new RecordingSink();
      add(prompt, maxNew, sampling, ropes, seed, salt, sink);
      while (!scheduler.isIdle()) {
        assertTrue(step(), "work exists, but nothing moves");
      }
      return sink;
    }
  }

  private static int[] prompt(int length, int salt) {
    return IntStream.range(0, length).map(i -> 1 + (i * 7 + salt * 13) % 47).toArray();
  }

  private static int[] join(int[] first, int count, int[] second) {
    int[] joined = Arrays.copyOf(first, count + second.length);
    System.arraycopy(second, 0, joined, count, second.length);
    return joined;
  }

  @Test
  void allButTheLastTokenOfTheSamePromptIsFound() {
    Bench bench = new Bench(40);
    RecordingSink first = bench.run(prompt(24, 1), 5);
    RecordingSink second = bench.run(prompt(24, 1), 5);
    assertEquals(0, first.cachedTokens);
    // Two shared blocks, and 7 tokens of a copy of the third.
    assertEquals(23, second.cachedTokens);
    assertEquals(1, bench.engine.copies);
    assertEquals(first.tokens, second.tokens);
    assertEquals(24 + 1, bench.counters.promptTokens.get());
    assertEquals(1, bench.counters.prefixHits.get());
    assertEquals(23, bench.counters.prefixHitTokens.get());
  }

  @Test
  void notAllThatWaitAreLookedUpInOneStep() {
    Bench bench = new Bench(40);
    List<RecordingSink> sinks = new ArrayList<>();
    List<Sequence> sequences = new ArrayList<>();
    for (int i = 0; i < 12; i++) {
      sinks.add(new RecordingSink());
      sequences.add(bench.add(prompt(24, 1), 5, sinks.get(i)));
    }
    assertTrue(bench.step());
    // There are four slots, three of them free: no more could have been admitted.
    assertEquals(4, sequences.stream().filter(s -> s.awaited != null).count());
    while (!bench.scheduler.isIdle()) {
      assertTrue(bench.step(), "work exists, but nothing moves");
    }
    for (RecordingSink sink : sinks) {
      assertEquals(sinks.get(0).tokens, sink.tokens);
      assertEquals(sink == sinks.get(0) ? 0 : 23, sink.cachedTokens);
    }
  }

  @Test
  void whatWasGeneratedIsFoundToo() {
    Bench bench = new Bench(40);
    RecordingSink first = bench.run(prompt(10, 1), 20);
    int[] answer = first.tokens.stream().mapToInt(Integer::intValue).toArray();
    // 10 + 20 tokens, of which the last was never computed: 3 full blocks.
    RecordingSink second = bench.run(join(join(prompt(10, 1), 10, answer), 30, prompt(6, 3)), 2);
    assertEquals(24, second.cachedTokens);
  }

  @Test
  void aBlockThatDiffersLaterIsCopiedIfEnoughOfItIsEqual() {
    Bench bench = new Bench(40);
    int[] known = prompt(32, 1);
    bench.run(known, 1);
    RecordingSink five = bench.run(join(known, 13, prompt(12, 2)), 3);
    assertEquals(13, five.cachedTokens);
    assertEquals(1, bench.engine.copies);
    RecordingSink one = bench.run(join(known, 25, prompt(12, 4)), 3);
    assertEquals(24, one.cachedTokens);
    assertEquals(1, bench.engine.copies);
  }

  @Test
  void otherSaltsAndFrequenciesFindNothing() {
    Bench bench = new Bench(60);
    List<RopeFrequencies> ropes = List.of(new RopeFrequencies(0, 1, new double[] {0.5}, 1));
    List<RopeFrequencies> others = List.of(new RopeFrequencies(0, 1, new double[] {0.25}, 1));
    SamplingParams greedy = SamplingParams.GREEDY;
    int[] prompt = prompt(20, 1);
    assertEquals(0, bench.run(prompt, 2, greedy, List.of(), 1, "").cachedTokens);
    assertEquals(0, bench.run(prompt, 2, greedy, List.of(), 1, "tenant").cachedTokens);
    assertEquals(0, bench.run(prompt, 2, greedy, ropes, 1, "").cachedTokens);
    assertEquals(0, bench.run(prompt, 2, greedy, others, 1, "").cachedTokens);
    assertEquals(16, bench.run(prompt, 2, greedy, others, 1, "").cachedTokens);
    assertEquals(16, bench.run(prompt, 2, greedy, List.of(), 1, "tenant").cachedTokens);
  }

  @Test
  void aSequenceWithoutKeysNeitherFindsNorLeavesAnything() {
    Bench bench = new Bench(40);
    bench.run(prompt(24, 1), 2);
    RecordingSink sink = new RecordingSink();
    bench.scheduler.add(
        new Sequence(prompt(24, 1), 2, HeadChoice.tokens(0), SamplingParams.GREEDY, 1,
            Sequence.NO_LOGPROBS, new int[0], List.of(), 0, Sequence.NO_DEADLINE, sink));
    while (bench.step()) {
      assertEquals(0, sink.cachedTokens);
    }
    assertEquals(FinishReason.LENGTH, sink.reason);
    assertEquals(3, bench.scheduler.pool(0).cached());
  }

  @Test
  void whoNeedsWhatIsBeingComputedWaitsForIt() {
    Bench bench = new Bench(60, 0, 8, 32, 64);
    RecordingSink first = new RecordingSink();
    RecordingSink second = new RecordingSink();
    RecordingSink other = new RecordingSink();
    bench.add(prompt(40, 1), 9, first);
    bench.add(join(prompt(40, 1), 32, prompt(5, 2)), 3, second);
    bench.add(prompt(2, 5), 1, other);
    for (int i = 0; i < 4; i++) {
      bench.step();
      assertEquals(0, second.admissions);
    }
    while (second.admissions == 0) {
      assertTrue(bench.step());
    }
    assertEquals(32, second.cachedTokens);
    // Who needs something else passes.
    assertEquals(FinishReason.LENGTH, other.reason);
    assertNull(first.reason);
  }

  @Test
  void nobodyWaitsForASequenceThatEnded() {
    Bench bench = new Bench(60, 0, 8, 32, 64);
    RecordingSink first = new RecordingSink();
    RecordingSink second = new RecordingSink();
    Sequence computing = bench.add(prompt(40, 1), 9, first);
    bench.add(prompt(40, 1), 3, second);
    bench.step();
    bench.step();
    bench.scheduler.finish(computing, FinishReason.CANCELLED, "", 1);
    assertTrue(bench.step());
    assertEquals(1, second.admissions);
    assertEquals(16, second.cachedTokens);
    while (bench.step()) {
      assertFalse(bench.scheduler.isIdle() && second.reason == null);
    }
    assertEquals(FinishReason.LENGTH, second.reason);
  }

  @Test
  void theLongestUnusedIsEvictedFirstAndFromItsEnd() {
    Bench bench = new Bench(8);
    bench.run(prompt(24, 1), 1);
    bench.run(prompt(24, 2), 1);
    bench.run(prompt(16, 1), 1);
    assertEquals(6, bench.scheduler.pool(0).cached());
    // Needs 4: two are free, and two are evicted: the end of each, the second prompt's first.
    bench.run(prompt(25, 3), 1);
    assertEquals(2, bench.counters.prefixEvictions.get());
    assertEquals(15, bench.run(prompt(16, 1), 1).cachedTokens);
    assertTrue(bench.run(prompt(17, 2), 1).cachedTokens >= 8);
  }

  @Test
  void whatIsNotFiniteIsNotKept() {
    Bench bench = new Bench(40);
    bench.engine.poisonedSeeds.add(13L);
    RecordingSink bad =
        bench.run(prompt(24, 1), 3, SamplingParams.GREEDY, List.of(), 13, "");
    assertEquals(FinishReason.ERROR, bad.reason);
    assertEquals(0, bench.scheduler.pool(0).cached());
    assertEquals(0, bench.scheduler.prefixCache().nodes().size());
    assertEquals(0, bench.run(prompt(24, 1), 3).cachedTokens);
  }

  @Test
  void aTokenAfterTheEndIsNotKept() {
    SchedulerLimits limits = new SchedulerLimits(2, 64, 8, new int[] {20});
    FakeEngine engine = new FakeEngine(2, 1, 0, limits, CONTEXT, 2, 32, 64, 8);
    Scheduler scheduler = new Scheduler(limits, new SchedulerCounters(), 0);
    StepPlan[] plans = {new StepPlan(2), new StepPlan(2)};
    RecordingSink sink = new RecordingSink();
    sink.stopAfter = 1;
    Sequence sequence =
        new Sequence(prompt(15, 1), 20, HeadChoice.tokens(0), SamplingParams.GREEDY, 1,
            Sequence.NO_LOGPROBS, new int[0], List.of(), 0, Sequence.NO_DEADLINE, sink);
    sequence.cachePrefix("", 8);
    scheduler.add(sequence);
    assertTrue(scheduler.plan(plans[0], engine.message(0), 1));
    engine.submit(0);
    // Position 15 fills the second block, and is computed although the text ends before it.
    assertTrue(scheduler.plan(plans[1], engine.message(1), 1));
    engine.submit(1);
    for (int slot = 0; slot < 2; slot++) {
      engine.await(slot, 0);
      scheduler.apply(plans[slot], engine.outputOf(slot), 1);
    }
    assertEquals(FinishReason.STOP, sink.reason);
    assertEquals(1, scheduler.pool(0).cached());
  }

  @Test
  void blocksBehindTheWindowAreFreedAndNotNeeded() {
    Bench bench = new Bench(40, 10, 64, 64, 64);
    RecordingSink sink = new RecordingSink();
    bench.add(prompt(40, 1), 30, sink);
    int most = 0;
    while (bench.step()) {
      if (sink.tokens.size() > 1) {
        most = Math.max(most, bench.scheduler.pool(0).used());
      }
    }
    // 10 positions lie in at most 3 blocks; one more until the step that filled it is applied.
    assertTrue(most <= 4, "blocks in use: " + most);
    assertEquals(39, bench.run(prompt(40, 1), 1).cachedTokens);
    // Leave no block but the two that the window sees from position 32.
    List<PrefixNode> nodes = new ArrayList<>(bench.scheduler.prefixCache().nodes());
    for (PrefixNode node : nodes) {
      boolean seen = node.tokens[0] == prompt(40, 1)[16] || node.tokens[0] == prompt(40, 1)[24];
      if (!seen && node.blocks[0] != PrefixNode.NONE) {
        bench.scheduler.pool(0).unpublish(node.blocks[0]);
      }
    }
    assertEquals(2, bench.scheduler.pool(0).cached());
    assertEquals(32, bench.run(prompt(33, 1), 1).cachedTokens);
  }

  @Test
  void aLongFoundPrefixIsToldOverSeveralSteps() {
    Bench bench = new Bench(60, 0, 64, 3, 5);
    int[] prompt = prompt(66, 1);
    RecordingSink plain =
        new Bench(60).run(prompt, 6, PENALTY, List.of(), 1, "");
    bench.run(prompt, 1);
    long steps = bench.counters.steps.get();
    RecordingSink found = bench.run(prompt, 6, PENALTY, List.of(), 1, "");
    assertEquals(64, found.cachedTokens);
    assertEquals(plain.tokens, found.tokens);
    // 64 counts at 5 a step, where the blocks at 3 a step are the faster.
    assertTrue(bench.counters.steps.get() - steps >= 13 + 5);
  }

  @Test
  void keysDependOnEveryToken() {
    PrefixHasher hasher = new PrefixHasher();
    BlockKey root = hasher.root("", List.of());
    BlockKey key = hasher.next(root, prompt(8, 1), 0, 8);
    assertEquals(key, new PrefixHasher().next(root, prompt(8, 1), 0, 8));
    for (int i = 0; i < 8; i++) {
      int[] other = prompt(8, 1);
      other[i]++;
      assertNotEquals(key, hasher.next(root, other, 0, 8));
    }
    assertNotEquals(key, hasher.next(hasher.root("x", List.of()), prompt(8, 1), 0, 8));
    assertNotEquals(key, hasher.next(key, prompt(8, 1), 0, 8));
  }
}

package ai.sluice.core.scheduler;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.FinishReason;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Sequences that take over the state of another one's prompt. */
class ForkTest {
  private static final SamplingParams PENALTIES =
      new SamplingParams(1, 0, 1, 0, 1.5f, 0.5f, 0, new int[0], new float[0]);

  private static Sequence sequence(
      int[] prompt, int maxNew, long seed, boolean cached, TokenSink sink) {
    Sequence sequence =
        new Sequence(
            prompt.clone(), maxNew, HeadChoice.tokens(0), PENALTIES, seed, Sequence.NO_LOGPROBS,
            new int[0], List.of(), 0, Sequence.NO_DEADLINE, sink);
    if (cached) {
      sequence.cachePrefix("", TestBench.BLOCK);
    }
    return sequence;
  }

  private static List<Integer> alone(int[] prompt, int maxNew, long seed) {
    TestBench bench = new TestBench(1, 1, 12);
    RecordingSink sink = new RecordingSink();
    bench.scheduler.add(sequence(prompt, maxNew, seed, false, sink));
    bench.drain();
    return sink.tokens;
  }

  /** A leader and its forks. */
  private static final class Family {
    final TestBench bench;
    final int[] prompt;
    final int maxNew;
    final List<Sequence> sequences = new ArrayList<>();
    final List<RecordingSink> sinks = new ArrayList<>();

    Family(TestBench bench, int[] prompt, int maxNew, int size, boolean cached) {
      this.bench = bench;
      this.prompt = prompt;
      this.maxNew = maxNew;
      for (int i = 0; i < size; i++) {
        sinks.add(new RecordingSink());
        sequences.add(sequence(prompt, maxNew, i, cached, sinks.get(i)));
        if (i > 0) {
          sequences.get(i).forkOf(sequences.get(0));
        }
      }
      sequences.forEach(bench.scheduler::add);
    }

    void check(int from) {
      for (int i = from; i < sinks.size(); i++) {
        assertEquals(alone(prompt, maxNew, i), sinks.get(i).tokens, "sequence " + i);
        assertEquals(FinishReason.LENGTH, sinks.get(i).reason);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    "20, 1, false, 0", "20, 2, true, 0", "16, 2, false, 0", "17, 2, true, 0", "1, 2, false, 0",
    "2, 1, true, 0", "40, 2, false, 9", "40, 3, true, 9", "41, 2, false, 20", "80, 2, true, 5"
  })
  void forksComputeTheLastTokenOfTheirPromptAlone(
      int length, int depth, boolean cached, int retention) {
    SchedulerLimits limits =
        new SchedulerLimits(
            6, 32, TestBench.BLOCK, new int[] {60, 62}, new int[] {0, retention});
    TestBench bench = new TestBench(depth, limits, 8, 1, 1);
    Family family = new Family(bench, TestBench.prompt(length, 1), 14, 5, cached);
    bench.drain();
    family.check(0);
    assertEquals(length + 4, bench.counters.promptTokens.get());
    for (int i = 1; i < 5; i++) {
      assertEquals(length - 1, family.sinks.get(i).cachedTokens);
    }
    // What a leader gives is only found in the cache where there is one.
    assertEquals(cached ? 4 * (length - 1) : 0, bench.counters.prefixHitTokens.get());
    assertEquals(cached ? 5 * length : 0, bench.counters.prefixQueryTokens.get());
    assertEquals(cached && length > 1 ? 4 : 0, bench.counters.prefixHits.get());
    // The last block is copied for each fork and group, if it holds anything before that token.
    assertEquals((length - 1) % TestBench.BLOCK == 0 ? 0 : 8, bench.engine.copies);
  }

  @Test
  void forksShareTheFullBlocksOfTheirLeader() {
    TestBench bench = new TestBench(1, 6, 60);
    new Family(bench, TestBench.prompt(60, 1), 20, 5, false);
    bench.turn();
    bench.turn();
    // 7 shared blocks, and one for each from there on.
    assertEquals(7 + 5, bench.scheduler.pool(0).used());
    bench.drain();
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aForkWhoseLeaderIsGoneGoesOnByItself(boolean cached) {
    for (int cancelAfter = 0; cancelAfter < 5; cancelAfter++) {
      for (int depth = 1; depth <= 2; depth++) {
        SchedulerLimits limits = new SchedulerLimits(6, 16, TestBench.BLOCK, new int[] {60});
        TestBench bench = new TestBench(depth, limits, 8, 1, 1);
        Family family = new Family(bench, TestBench.prompt(40, 1), 10, 3, cached);
        for (int i = 0; i < cancelAfter; i++) {
          bench.turn();
        }
        bench.scheduler.finish(
            family.sequences.get(0), FinishReason.CANCELLED, "", bench.now);
        bench.drain();
        family.check(1);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aForkWhoseLeaderIsPreemptedGoesOnByItself(boolean cached) {
    for (int after = 1; after < 5; after++) {
      SchedulerLimits limits = new SchedulerLimits(6, 16, TestBench.BLOCK, new int[] {60});
      TestBench bench = new TestBench(2, limits, 8, 1, 1);
      Family family = new Family(bench, TestBench.prompt(40, 1), 10, 3, cached);
      for (int i = 0; i < after; i++) {
        bench.turn();
      }
      bench.scheduler.preempt(family.sequences.get(0));
      bench.drain();
      family.check(0);
    }
  }

  @Test
  void aLeaderThatEndsWithItsFirstTokenLeavesItsForksAlone() {
    TestBench bench = new TestBench(2, 6, 60);
    Family family = new Family(bench, TestBench.prompt(40, 1), 1, 3, true);
    bench.drain();
    family.check(0);
  }

  @Test
  void aForkThatComesLateStillShares() {
    SchedulerLimits limits =
        new SchedulerLimits(2, 64, TestBench.BLOCK, new int[] {60, 60}, new int[] {0, 8});
    TestBench bench = new TestBench(2, limits, 8, 1, 1);
    // Two slots for four: the last ones come when the leader has let its window pass, or has ended.
    Family family = new Family(bench, TestBench.prompt(40, 1), 30, 4, false);
    bench.drain();
    family.check(0);
    assertEquals(39, family.sinks.get(1).cachedTokens);
    assertEquals(0, family.sinks.get(3).cachedTokens);
  }

  @Test
  void whoNeverQueuedLeadsNobody() {
    TestBench bench = new TestBench(2, 6, 60);
    Sequence leader = sequence(TestBench.prompt(20, 1), 4, 0, false, new RecordingSink());
    RecordingSink sink = new RecordingSink();
    Sequence fork = sequence(TestBench.prompt(20, 1), 4, 1, false, sink);
    fork.forkOf(leader);
    bench.scheduler.add(fork);
    bench.drain();
    assertEquals(alone(TestBench.prompt(20, 1), 4, 1), sink.tokens);
    Sequence other = sequence(TestBench.prompt(21, 1), 4, 1, false, sink);
    assertThrows(IllegalArgumentException.class, () -> other.forkOf(leader));
  }

  @Test
  void forksOfACrowdedPoolAllEnd() {
    for (int depth = 1; depth <= 2; depth++) {
      TestBench bench = new TestBench(depth, 5, 14);
      Family first = new Family(bench, TestBench.prompt(30, 1), 40, 4, depth == 1);
      Family second = new Family(bench, TestBench.prompt(25, 2), 40, 4, depth == 2);
      bench.drain();
      first.check(0);
      second.check(0);
      assertTrue(bench.counters.preemptions.get() > 0);
    }
  }

  @Test
  void whatWasPreparedForTheLeaderIsNotMadeAgain() {
    int[] prompt = TestBench.prompt(100_000, 1);
    Sequence leader = TestBench.sequence(prompt, 1, new RecordingSink());
    leader.cachePrefix("salt", TestBench.BLOCK);
    leader.speculate(4);
    List<Sequence> forks = new ArrayList<>();
    for (int i = 0; i < 127; i++) {
      forks.add(
          new Sequence(
              prompt, 1, HeadChoice.tokens(0), SamplingParams.GREEDY, i, Sequence.NO_LOGPROBS,
              new int[0], List.of(), 0, Sequence.NO_DEADLINE, new RecordingSink()));
    }
    long before = Allocation.bytes();
    for (Sequence fork : forks) {
      fork.forkOf(leader);
      fork.prepareAs(leader);
    }
    long allocated = Allocation.bytes() - before;
    // Keys and index of such a prompt take megabytes.
    assertTrue(allocated < 200_000, allocated + " bytes for 127 forks");
    for (Sequence fork : forks) {
      assertTrue(leader.sharesWith(fork));
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void forksDraftFromWhatTheirLeaderLearned(boolean cached) {
    int[] prompt = new int[40];
    Arrays.setAll(prompt, i -> 1 + i % 5);
    TestBench bench = new TestBench(2, 4, 60);
    bench.engine.repetitive = true;
    List<RecordingSink> sinks = new ArrayList<>();
    List<Sequence> sequences = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      sinks.add(new RecordingSink());
      Sequence sequence = sequence(prompt, 40, i, false, sinks.get(i));
      if (i == 0) {
        if (cached) {
          sequence.cachePrefix("", TestBench.BLOCK);
        }
        sequence.speculate(4);
      } else {
        sequence.forkOf(sequences.get(0));
        sequence.prepareAs(sequences.get(0));
      }
      sequences.add(sequence);
    }
    sequences.forEach(bench.scheduler::add);
    bench.drain();
    assertTrue(bench.engine.acceptedDrafts > 0 && bench.engine.rejectedDrafts > 0);
    for (int i = 0; i < 4; i++) {
      TestBench other = new TestBench(1, 1, 12);
      other.engine.repetitive = true;
      RecordingSink sink = new RecordingSink();
      other.scheduler.add(sequence(prompt, 40, i, false, sink));
      other.drain();
      assertEquals(sink.tokens, sinks.get(i).tokens, "sequence " + i);
    }
  }
}

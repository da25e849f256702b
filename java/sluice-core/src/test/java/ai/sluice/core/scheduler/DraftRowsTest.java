package ai.sluice.core.scheduler;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.FinishReason;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Sequences whose next tokens are proposed and verified, over a model that repeats itself. */
class DraftRowsTest {
  private static final SamplingParams PENALTIES =
      new SamplingParams(0, 0, 1, 0, 1.5f, 0.5f, 0, new int[0], new float[0]);

  /** A prompt that repeats itself. */
  private static int[] periodic(int length, int period, int seed) {
    int[] prompt = TestBench.prompt(length, seed);
    for (int i = period; i < length; i++) {
      prompt[i] = prompt[i - period];
    }
    return prompt;
  }

  private static TestBench bench(int depth, int sequences, int... blocks) {
    TestBench bench = new TestBench(depth, sequences, blocks);
    bench.engine.repetitive = true;
    return bench;
  }

  private static Sequence drafting(
      int[] prompt, int maxNew, int most, SamplingParams sampling, TokenSink sink) {
    Sequence sequence = TestBench.sequence(prompt, maxNew, sampling, sink);
    sequence.speculate(most);
    return sequence;
  }

  @ParameterizedTest
  @CsvSource({"1, 4, false", "2, 4, true", "3, 1, false", "2, 3, true"})
  void draftsChangeNoToken(int depth, int most, boolean cached) {
    for (SamplingParams sampling : List.of(SamplingParams.GREEDY, PENALTIES)) {
      TestBench bench = bench(depth, 4, 48);
      RecordingSink[] sinks = new RecordingSink[4];
      for (int i = 0; i < 4; i++) {
        sinks[i] = new RecordingSink();
        Sequence sequence = drafting(periodic(20, 3 + i, i), 70, i == 3 ? 0 : most, sampling,
            sinks[i]);
        if (cached) {
          sequence.cachePrefix("", TestBench.BLOCK);
        }
        bench.scheduler.add(sequence);
      }
      bench.drain();
      for (int i = 0; i < 4; i++) {
        assertEquals(bench.alone(periodic(20, 3 + i, i), 70, sampling), sinks[i].tokens);
        assertEquals(FinishReason.LENGTH, sinks[i].reason);
      }
      assertEquals(280, bench.counters.newTokens.get());
      assertTrue(bench.engine.acceptedDrafts > 0 && bench.engine.rejectedDrafts > 0);
      assertEquals(bench.engine.acceptedDrafts, bench.counters.acceptedDraftTokens.get());
      assertEquals(
          bench.engine.acceptedDrafts + bench.engine.rejectedDrafts,
          bench.counters.draftTokens.get());
    }
  }

  @Test
  void acceptedDraftsSaveSteps() {
    int[] prompt = periodic(20, 4, 1);
    TestBench plain = bench(1, 1, 12);
    plain.scheduler.add(TestBench.sequence(prompt, 70, new RecordingSink()));
    plain.drain();
    TestBench drafts = bench(1, 1, 12);
    drafts.scheduler.add(drafting(prompt, 70, 4, SamplingParams.GREEDY, new RecordingSink()));
    drafts.drain();
    assertEquals(70, plain.steps);
    assertEquals(70 - drafts.counters.acceptedDraftTokens.get(), drafts.steps);
    assertTrue(drafts.steps < 50, "steps: " + drafts.steps);
  }

  @Test
  void whatFollowsTheEndInADraftIsDropped() {
    int[] prompt = periodic(20, 4, 1);
    List<Integer> alone = bench(1, 1, 12).alone(prompt, 60, SamplingParams.GREEDY);
    int dropped = 0;
    for (int end = 1; end < 60; end++) {
      for (int way = 0; way < 3; way++) {
        TestBench bench = bench(1, 1, 12);
        RecordingSink sink = new RecordingSink();
        int stop = alone.get(end - 1);
        int expected = way == 2 ? alone.indexOf(stop) + 1 : end;
        Sequence sequence =
            new Sequence(prompt.clone(), way == 0 ? end : 60, HeadChoice.tokens(0),
                SamplingParams.GREEDY, 5, Sequence.NO_LOGPROBS,
                way == 2 ? new int[] {stop} : new int[0], List.of(), 0, Sequence.NO_DEADLINE,
                sink);
        if (way == 1) {
          sink.stopAfter = end;
        }
        sequence.speculate(4);
        sequence.cachePrefix("", TestBench.BLOCK);
        bench.scheduler.add(sequence);
        bench.drain();
        assertEquals(alone.subList(0, expected), sink.tokens);
        assertEquals(way == 0 ? FinishReason.LENGTH : FinishReason.STOP, sink.reason);
        // Nothing behind the end can be found.
        int known = 20 + expected;
        for (PrefixNode node : bench.scheduler.prefixCache().nodes()) {
          int depth = 1;
          for (PrefixNode at = node; at.parent != null; at = at.parent) {
            depth++;
          }
          assertTrue(depth * TestBench.BLOCK <= known);
          dropped += known - depth * TestBench.BLOCK < 2 ? 1 : 0;
        }
        RecordingSink again = new RecordingSink();
        Sequence next = TestBench.sequence(prompt, 60, again);
        next.cachePrefix("", TestBench.BLOCK);
        bench.scheduler.add(next);
        bench.drain();
        assertEquals(alone, again.tokens);
      }
    }
    assertTrue(dropped > 0);
  }

  @Test
  void draftsTakeOnlyWhatOthersLeave() {
    SchedulerLimits limits = new SchedulerLimits(4, 8, TestBench.BLOCK, new int[] {48});
    TestBench bench = new TestBench(1, limits, 8, 1, 1);
    bench.engine.repetitive = true;
    Sequence sequence =
        drafting(periodic(8, 3, 1), 60, 4, SamplingParams.GREEDY, new RecordingSink());
    bench.scheduler.add(sequence);
    long before = 0;
    while (bench.counters.draftTokens.get() < 20) {
      before = sequence.numOutputs();
      bench.turn();
    }
    assertTrue(before > 0);
    // A prompt fills the budget: one token of eight for the sequence, none for drafts.
    bench.scheduler.add(TestBench.sequence(TestBench.prompt(60, 1), 2, new RecordingSink()));
    long drafts = bench.counters.draftTokens.get();
    for (int i = 0; i < 8; i++) {
      bench.turn();
      assertEquals(8, bench.plans[0].numTokens());
    }
    assertEquals(drafts, bench.counters.draftTokens.get());
    bench.drain();
    assertTrue(bench.counters.draftTokens.get() > drafts);
  }

  @Test
  void draftsTakeNoBlockThatSomebodyMayNeedSoon() {
    int most = 0;
    // Two sequences of two blocks each run, so a draft leaves two blocks of what is left.
    for (int blocks = 5; blocks <= 7; blocks++) {
      TestBench bench = bench(1, 2, blocks);
      Sequence sequence =
          drafting(periodic(12, 3, 1), 20, 4, SamplingParams.GREEDY, new RecordingSink());
      bench.scheduler.add(sequence);
      bench.scheduler.add(
          TestBench.sequence(TestBench.prompt(12, 2), 20, new RecordingSink()));
      bench.turn();
      assertEquals(2, bench.counters.running.get());
      // What its last tokens were followed by: the draft goes past the second block.
      sequence.append(sequence.token(10));
      sequence.append(sequence.token(11));
      sequence.rewind();
      sequence.drafter = new Drafter(8);
      bench.scheduler.plan(bench.plans[0], bench.messages[0], 1);
      assertEquals(blocks == 7 ? 3 : 2, sequence.numPromised, blocks + " blocks");
      most = Math.max(most, sequence.numPlanned);
      assertTrue(sequence.numPlanned <= 8 * sequence.numPromised);
    }
    assertTrue(most > 16, "positions: " + most);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2})
  void thePreemptedGiveTheTokensThatTheyWouldHaveGiven(int depth) {
    TestBench bench = bench(depth, 4, 16);
    RecordingSink[] sinks = new RecordingSink[4];
    for (int i = 0; i < 4; i++) {
      sinks[i] = new RecordingSink();
      Sequence sequence = drafting(periodic(10, 3 + i % 2, i), 54, 4, PENALTIES, sinks[i]);
      if (i % 2 == 0) {
        sequence.cachePrefix("", TestBench.BLOCK);
      }
      bench.scheduler.add(sequence);
    }
    bench.drain();
    assertTrue(bench.counters.preemptions.get() > 0);
    for (int i = 0; i < 4; i++) {
      assertEquals(bench.alone(periodic(10, 3 + i % 2, i), 54, PENALTIES), sinks[i].tokens);
    }
  }

  @Test
  void planningAndApplyingDraftsAllocateNothing() {
    TokenSink silent =
        new TokenSink() {
          @Override
          public void admitted(int cachedTokens) {}

          @Override
          public boolean token(int token, boolean stopsHere, StepOutput out, int row, int index) {
            return false;
          }

          @Override
          public void finished(FinishReason reason, String detail, SequenceTimes times) {}

          @Override
          public void failed(ai.sluice.api.SluiceException cause) {}
        };
    for (int round = 0; ; round++) {
      TestBench bench = bench(1, 8, 96);
      List<Sequence> sequences = new ArrayList<>();
      for (int i = 0; i < 8; i++) {
        sequences.add(drafting(periodic(50, 3, i), 46, 4, PENALTIES, silent));
        bench.scheduler.add(sequences.get(i));
      }
      // Arrays that grow with a sequence have grown by then.
      while (sequences.stream().anyMatch(s -> s.numKnown < 60)) {
        bench.turn();
      }
      StepOutput output = bench.engine.outputOf(0);
      long drafts = bench.counters.draftTokens.get();
      long allocated = 0;
      long start = Allocation.bytes();
      long own = Allocation.bytes() - start;
      while (sequences.stream().allMatch(s -> s.numKnown < 90)) {
        long before = Allocation.bytes();
        bench.scheduler.plan(bench.plans[0], bench.messages[0], 1);
        allocated += Allocation.bytes() - before - own;
        bench.engine.submit(0);
        bench.engine.await(0, 0);
        before = Allocation.bytes();
        bench.scheduler.apply(bench.plans[0], output, 1);
        allocated += Allocation.bytes() - before - own;
      }
      assertTrue(bench.counters.draftTokens.get() > drafts);
      // Until it is compiled, the measuring allocates now more, now less.
      if (allocated <= 0) {
        return;
      }
      assertTrue(round < 200, allocated + " bytes");
    }
  }

  @Test
  void poorDraftsPauseAndSequencesArePlannedAheadMeanwhile() {
    Drafter drafter = new Drafter(4);
    int[] tokens = periodic(400, 5, 1);
    int known = 20;
    int judged = 0;
    while (drafter.isActive(known)) {
      int size = drafter.propose(tokens, known, 4);
      assertTrue(size > 0);
      for (int i = 0; i < size; i++) {
        assertEquals(tokens[known + i], drafter.token(i));
      }
      drafter.judge(size, 0, ++known);
      judged += size;
    }
    assertTrue(judged >= 16 && judged < 24, "judged: " + judged);
    assertEquals(0, drafter.propose(tokens, known, 4));
    assertFalse(drafter.isActive(known + 31));
    assertTrue(drafter.isActive(known + 32));
    assertEquals(1, drafter.propose(tokens, known + 32, 4));
    drafter.judge(1, 1, known + 33);
    assertEquals(2, drafter.propose(tokens, known + 33, 4));
    assertEquals(1, drafter.propose(tokens, known + 33, 1));
    assertEquals(0, drafter.propose(tokens, known + 33, -3));
  }

  @Test
  void theLatestPlaceOfTheLongestRunIsFound() {
    int[] tokens = {1, 2, 3, 4, 9, 2, 3, 5, 8, 2, 3, 6, 1, 2, 3};
    Drafter drafter = new Drafter(4);
    assertEquals(2, drafter.propose(tokens, tokens.length, 4));
    assertEquals(List.of(4, 9), List.of(drafter.token(0), drafter.token(1)));
    drafter = new Drafter(8);
    int[] other = Arrays.copyOf(tokens, tokens.length);
    other[12] = 7;
    assertEquals(4, drafter.propose(other, other.length, 8));
    // Only two tokens agree, and the last such place is behind the 8.
    assertEquals(List.of(6, 7, 2, 3), tokensOf(drafter, 4));
    int[] twice = {4, 5, 4, 5, 4, 5};
    drafter = new Drafter(8);
    assertEquals(4, drafter.propose(twice, 6, 8));
    assertEquals(List.of(4, 5, 4, 5), tokensOf(drafter, 4));
    assertEquals(0, drafter.propose(new int[] {1}, 1, 8));
  }

  private static List<Integer> tokensOf(Drafter drafter, int size) {
    List<Integer> tokens = new ArrayList<>();
    for (int i = 0; i < size; i++) {
      tokens.add(drafter.token(i));
    }
    return tokens;
  }

  @Test
  void anIndexFindsWhatASearchFinds() {
    java.util.Random random = new java.util.Random(3);
    int[] tokens = random.ints(3000, 0, 12).toArray();
    for (int n = 2; n <= 3; n++) {
      NgramIndex index = new NgramIndex(n);
      for (int length = 1; length <= tokens.length; length += 1 + random.nextInt(3)) {
        index.extend(tokens, length);
        int found = NgramIndex.NOT_FOUND;
        for (int after = length - 1; after >= n && found < 0; after--) {
          if (length >= n && Arrays.equals(
              tokens, after - n, after, tokens, length - n, length)) {
            found = after;
          }
        }
        assertEquals(found, index.find(tokens, length));
      }
    }
  }
}

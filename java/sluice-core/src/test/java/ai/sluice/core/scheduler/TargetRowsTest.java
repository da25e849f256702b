package ai.sluice.core.scheduler;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.FinishReason;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Sequences that are scored, beside sequences that generate. */
class TargetRowsTest {
  private static Sequence scored(int[] prompt, int first, int[] next, TokenSink sink) {
    Sequence sequence = TestBench.sequence(prompt, 1, sink);
    sequence.score(first, next);
    return sequence;
  }

  private static List<ScoringSink.Score> expected(int[] prompt, int first, int[] next) {
    List<ScoringSink.Score> scores = new ArrayList<>();
    for (int position = first; position < prompt.length; position++) {
      scores.add(score(prompt, position, prompt[position]));
    }
    for (int token : next) {
      scores.add(score(prompt, prompt.length, token));
    }
    return scores;
  }

  private static ScoringSink.Score score(int[] prompt, int position, int token) {
    long chain = FakeModel.chain(prompt, position, 0);
    return new ScoringSink.Score(
        position, token, FakeModel.logprob(chain, token), FakeModel.rank(chain, token));
  }

  @ParameterizedTest
  @CsvSource({
    "1, 0, 1", "1, 3, 1", "20, 0, 2", "39, 0, 1", "40, 1, 1", "40, 7, 2", "17, 2, 3", "16, 1, 2"
  })
  void everyTargetIsToldOnceInOrder(int first, int numNext, int depth) {
    int[] prompt = TestBench.prompt(40, 1);
    int[] next = TestBench.prompt(numNext, 2);
    TestBench bench = new TestBench(depth, 4, 24);
    ScoringSink sink = new ScoringSink();
    bench.scheduler.add(scored(prompt, first, next, sink));
    bench.drain();
    assertEquals(expected(prompt, first, next), sink.scores);
    assertEquals(FinishReason.STOP, sink.reason);
    assertEquals(0, bench.counters.newTokens.get());
    // Nobody asks for what follows the last token, so it is no input.
    assertEquals(numNext == 0 ? 39 : 40, bench.counters.promptTokens.get());
  }

  @ParameterizedTest
  @CsvSource({"3, 128, 1", "128, 5, 1", "3, 5, 2", "1, 4, 3"})
  void rowsAreCutWhereASectionIsFull(int rows, int targets, int depth) {
    SchedulerLimits limits = new SchedulerLimits(4, 64, TestBench.BLOCK, new int[] {30});
    TestBench bench = new TestBench(depth, limits, rows, targets, 0);
    List<ScoringSink> sinks = new ArrayList<>();
    List<RecordingSink> others = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      sinks.add(new ScoringSink());
      int[] next = TestBench.prompt(4, 9 + i);
      bench.scheduler.add(
          scored(TestBench.prompt(30, i), 5 + i, next, sinks.get(i)));
      others.add(new RecordingSink());
      bench.scheduler.add(TestBench.sequence(TestBench.prompt(12, 5 + i), 6, others.get(i)));
    }
    bench.drain();
    for (int i = 0; i < 3; i++) {
      assertEquals(
          expected(TestBench.prompt(30, i), 5 + i, TestBench.prompt(4, 9 + i)),
          sinks.get(i).scores);
      assertEquals(
          bench.alone(TestBench.prompt(12, 5 + i), 6, SamplingParams.GREEDY),
          others.get(i).tokens);
    }
    assertTrue(bench.steps > 10);
  }

  @Test
  void moreTargetsThanAStepTakesEndTheSequenceAlone() {
    SchedulerLimits limits = new SchedulerLimits(4, 64, TestBench.BLOCK, new int[] {30});
    TestBench bench = new TestBench(2, limits, 8, 5, 0);
    ScoringSink sink = new ScoringSink();
    RecordingSink other = new RecordingSink();
    bench.scheduler.add(scored(TestBench.prompt(9, 1), 9, TestBench.prompt(6, 1), sink));
    bench.scheduler.add(TestBench.sequence(TestBench.prompt(9, 2), 3, other));
    bench.drain();
    assertEquals(FinishReason.ERROR, sink.reason);
    assertTrue(sink.detail.contains("targets: 6") && sink.detail.contains("5"), sink.detail);
    assertEquals(3, other.tokens.size());
  }

  @Test
  void thePrefixCacheGivesWhatNoRowIsAt() {
    int[] prompt = TestBench.prompt(40, 1);
    TestBench bench = new TestBench(1, 4, 40);
    ScoringSink first = new ScoringSink();
    Sequence computes = scored(prompt, 40, new int[] {3}, first);
    computes.cachePrefix("", TestBench.BLOCK);
    bench.scheduler.add(computes);
    bench.drain();
    // 5 full blocks are known now; of them a row at position p allows the first p.
    for (int target : new int[] {1, 8, 9, 16, 17, 21, 36, 39, 40}) {
      ScoringSink sink = new ScoringSink();
      Sequence sequence = scored(prompt, target, new int[] {3}, sink);
      sequence.cachePrefix("", TestBench.BLOCK);
      bench.scheduler.add(sequence);
      bench.drain();
      assertEquals(expected(prompt, target, new int[] {3}), sink.scores);
      // Fewer than two tokens of a block are not worth a copy.
      int rest = (target - 1) % TestBench.BLOCK;
      assertEquals(target - 1 - (rest < 2 ? rest : 0), sink.cachedTokens, "first " + target);
    }
  }

  @Test
  void afterAPreemptionNothingIsToldTwice() {
    // Two prompts of 40 tokens, in steps of 16 tokens with few rows, and a third that grows.
    SchedulerLimits limits = new SchedulerLimits(4, 16, TestBench.BLOCK, new int[] {14});
    for (int depth = 1; depth <= 2; depth++) {
      for (boolean cached : new boolean[] {false, true}) {
        TestBench bench = new TestBench(depth, limits, 4, 4, 0);
        RecordingSink growing = new RecordingSink();
        bench.scheduler.add(TestBench.sequence(TestBench.prompt(30, 3), 60, growing));
        for (int i = 0; i < 12; i++) {
          bench.turn();
        }
        ScoringSink sink = new ScoringSink();
        Sequence sequence = scored(TestBench.prompt(40, 1), 2, new int[] {3, 4}, sink);
        if (cached) {
          sequence.cachePrefix("", TestBench.BLOCK);
        }
        bench.scheduler.add(sequence);
        while (sink.scores.size() < 5) {
          bench.turn();
        }
        // Growth alone does not reach it in time, so it is taken away here.
        int told = sink.scores.size();
        bench.scheduler.preempt(sequence);
        assertTrue(told < 40);
        bench.drain();
        assertEquals(1, sequence.numPreemptions);
        assertEquals(expected(TestBench.prompt(40, 1), 2, new int[] {3, 4}), sink.scores);
        assertEquals(60, growing.tokens.size());
      }
    }
  }

  @Test
  void aScoredPromptIsFoundByOthers() {
    int[] prompt = TestBench.prompt(41, 1);
    TestBench bench = new TestBench(2, 4, 40);
    Sequence sequence = scored(prompt, 1, new int[] {3}, new ScoringSink());
    sequence.cachePrefix("", TestBench.BLOCK);
    bench.scheduler.add(sequence);
    bench.drain();
    RecordingSink sink = new RecordingSink();
    Sequence other = TestBench.sequence(prompt, 4, sink);
    other.cachePrefix("", TestBench.BLOCK);
    bench.scheduler.add(other);
    bench.drain();
    assertEquals(40, sink.cachedTokens);
    assertEquals(bench.alone(prompt, 4, SamplingParams.GREEDY), sink.tokens);
  }

  @Test
  void itsWorstCaseIsItsPrompt() {
    TestBench bench = new TestBench(1, 4, 5);
    ScoringSink sink = new ScoringSink();
    bench.scheduler.add(scored(TestBench.prompt(40, 1), 40, new int[] {1}, sink));
    bench.drain();
    assertEquals(1, sink.scores.size());
    Sequence longer = scored(TestBench.prompt(41, 1), 40, new int[] {1}, sink);
    assertThrows(IllegalArgumentException.class, () -> bench.scheduler.add(longer));
  }

  @Test
  void whatIsNotFiniteEndsItWithWhatWasTold() {
    TestBench bench = new TestBench(2, 4, 40);
    int[] prompt = TestBench.prompt(40, 1);
    bench.engine.notFiniteOneIn = 20;
    int bad = 1;
    while (FakeModel.isFinite(FakeModel.chain(prompt, bad, 0), 20)) {
      bad++;
    }
    ScoringSink sink = new ScoringSink();
    bench.scheduler.add(scored(prompt, 1, new int[0], sink));
    bench.drain();
    assertEquals(FinishReason.ERROR, sink.reason);
    assertTrue(sink.detail.contains("not finite at position " + bad + " "), sink.detail);
    assertEquals(expected(prompt, 1, new int[0]).subList(0, bad - 1), sink.scores);
  }

  @Test
  void aSinkThatThrowsEndsItsSequenceAlone() {
    TestBench bench = new TestBench(2, 4, 40);
    ScoringSink broken = new ScoringSink();
    broken.brokenAt = 3;
    ScoringSink sound = new ScoringSink();
    bench.scheduler.add(scored(TestBench.prompt(20, 1), 1, new int[0], broken));
    bench.scheduler.add(scored(TestBench.prompt(20, 2), 1, new int[0], sound));
    bench.drain();
    assertEquals(FinishReason.ERROR, broken.reason);
    assertTrue(broken.detail.contains("broken"), broken.detail);
    assertEquals(19, sound.scores.size());
    assertEquals(FinishReason.STOP, sound.reason);
  }

  @Test
  void nothingToScoreIsRefused() {
    Sequence sequence = TestBench.sequence(TestBench.prompt(4, 1), 1, new ScoringSink());
    for (int first : new int[] {-1, 0, 5, Integer.MAX_VALUE}) {
      assertThrows(
          IllegalArgumentException.class, () -> sequence.score(first, new int[] {1}));
    }
    assertThrows(IllegalArgumentException.class, () -> sequence.score(4, new int[0]));
  }
}

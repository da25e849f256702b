package ai.sluice.core.scheduler;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.FinishReason;
import ai.sluice.text.TokenConstraint;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Sequences whose tokens are limited, beside sequences whose tokens are not. */
class MaskRowsTest {
  /** Allows tokens of one parity, the other one after each, from a certain token on. */
  private static class Parity implements TokenConstraint {
    final List<Integer> accepted = new ArrayList<>();
    final int free;
    int end = Integer.MAX_VALUE;
    int asked;

    Parity(int free) {
      this.free = free;
    }

    @Override
    public boolean limitsWithin(int tokens) {
      return accepted.size() + tokens > free;
    }

    @Override
    public void allow(ByteBuffer words, int offset) {
      assertTrue(limitsWithin(1));
      asked++;
      int mask = accepted.size() % 2 == 0 ? 0xAAAAAAAA : 0x55555554;
      words.putInt(offset, mask);
      words.putInt(offset + 4, accepted.size() % 2 == 0 ? 0xAAAAAAAA : 0x55555555);
    }

    @Override
    public void accept(int token) {
      assertFalse(isOver());
      accepted.add(token);
    }

    @Override
    public boolean isOver() {
      return accepted.size() >= end;
    }
  }

  private static Sequence limited(int seed, int maxNew, TokenConstraint how, TokenSink sink) {
    Sequence sequence = TestBench.sequence(TestBench.prompt(12, seed), maxNew, sink);
    sequence.constrain(how);
    return sequence;
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3})
  void everyLimitedTokenIsAllowed(int depth) {
    TestBench bench = new TestBench(depth, 4, 40);
    Parity[] how = {new Parity(0), new Parity(5), new Parity(100)};
    RecordingSink[] sinks = new RecordingSink[4];
    for (int i = 0; i < 4; i++) {
      sinks[i] = new RecordingSink();
      bench.scheduler.add(
          i < 3
              ? limited(i, 20, how[i], sinks[i])
              : TestBench.sequence(TestBench.prompt(12, i), 20, sinks[i]));
    }
    bench.drain();
    for (int i = 0; i < 3; i++) {
      assertEquals(FinishReason.LENGTH, sinks[i].reason);
      assertEquals(sinks[i].tokens, how[i].accepted);
      for (int k = how[i].free; k < 20; k++) {
        assertEquals(1 - k % 2, sinks[i].tokens.get(k) % 2, "token " + k + " of " + i);
      }
      assertEquals(Math.max(0, 20 - how[i].free), how[i].asked);
    }
    assertEquals(
        bench.alone(TestBench.prompt(12, 3), 20, SamplingParams.GREEDY), sinks[3].tokens);
    assertEquals(
        bench.alone(TestBench.prompt(12, 2), 20, SamplingParams.GREEDY), sinks[2].tokens);
  }

  @Test
  void onlyWhatMayBeLimitedIsNotPlannedAhead() {
    TestBench bench = new TestBench(2, 4, 40);
    Sequence free = limited(1, 20, new Parity(6), new RecordingSink());
    Sequence plain = TestBench.sequence(TestBench.prompt(12, 2), 20, new RecordingSink());
    bench.scheduler.add(free);
    bench.scheduler.add(plain);
    List<Integer> numPlanned = new ArrayList<>();
    while (free.numOutputs() < 10) {
      bench.fill();
      assertTrue(bench.planned().contains(plain));
      numPlanned.add(bench.planned().contains(free) ? 1 : 0);
      bench.take();
    }
    // Its seventh token is the first that is limited; the one before it is not planned ahead.
    assertEquals(List.of(1, 1, 1, 1, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0), numPlanned);
    bench.drain();
  }

  @ParameterizedTest
  @CsvSource({"1, 1", "2, 1", "3, 2"})
  void whereMasksAreFullARowWaits(int depth, int masks) {
    SchedulerLimits limits = new SchedulerLimits(4, 64, TestBench.BLOCK, new int[] {40});
    TestBench bench = new TestBench(depth, limits, 8, 1, masks);
    RecordingSink[] sinks = new RecordingSink[4];
    for (int i = 0; i < 4; i++) {
      sinks[i] = new RecordingSink();
      bench.scheduler.add(limited(i, 5 + i, new Parity(0), sinks[i]));
    }
    bench.drain();
    for (int i = 0; i < 4; i++) {
      assertEquals(5 + i, sinks[i].tokens.size());
    }
  }

  @Test
  void limitedSequencesDecodeTogether() {
    TestBench bench = new TestBench(2, 4, 40);
    Sequence first = limited(1, 40, new Parity(0), new RecordingSink());
    Sequence second = limited(2, 40, new Parity(0), new RecordingSink());
    bench.scheduler.add(first);
    bench.turn();
    bench.fill();
    // Arrives while the first one's token is being made.
    bench.scheduler.add(second);
    bench.fill();
    bench.take();
    bench.turn();
    bench.turn();
    for (int i = 0; i < 5; i++) {
      bench.turn();
      bench.fill();
      assertEquals(List.of(first, second), bench.planned());
    }
    bench.drain();
  }

  @Test
  void limitedPromptsThatKeepComingDoNotHoldUpWhoDecodes() {
    TestBench bench = new TestBench(2, 4, 40);
    Sequence first = limited(1, 40, new Parity(0), new RecordingSink());
    bench.scheduler.add(first);
    bench.turn();
    for (int i = 0; i < 20; i++) {
      bench.scheduler.add(limited(2 + i, 1, new Parity(0), new RecordingSink()));
      bench.turn();
    }
    assertTrue(first.numOutputs() >= 10, "outputs: " + first.numOutputs());
    bench.drain();
  }

  @Test
  void itsEndIsTheConstraints() {
    TestBench bench = new TestBench(2, 4, 40);
    for (int free : new int[] {0, 100}) {
      Parity how = new Parity(free);
      how.end = 4;
      RecordingSink sink = new RecordingSink();
      bench.scheduler.add(limited(1, 40, how, sink));
      bench.drain();
      assertEquals(FinishReason.STOP, sink.reason);
      assertEquals(4, sink.tokens.size());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"limitsWithin", "allow", "accept", "isOver"})
  void aConstraintThatThrowsEndsItsSequenceAlone(String where) {
    for (int depth = 1; depth <= 2; depth++) {
      // The second has to wait for the first one's blocks.
      TestBench bench = new TestBench(depth, 2, 6);
      RecordingSink broken = new RecordingSink();
      RecordingSink sound = new RecordingSink();
      Parity how =
          new Parity(0) {
            private void breakAt(String call) {
              if (call.equals(where) && accepted.size() == 3) {
                throw new IllegalStateException("broken");
              }
            }

            @Override
            public boolean limitsWithin(int tokens) {
              breakAt("limitsWithin");
              return super.limitsWithin(tokens);
            }

            @Override
            public void allow(ByteBuffer words, int offset) {
              breakAt("allow");
              super.allow(words, offset);
            }

            @Override
            public void accept(int token) {
              breakAt("accept");
              super.accept(token);
            }

            @Override
            public boolean isOver() {
              breakAt("isOver");
              return super.isOver();
            }
          };
      bench.scheduler.add(limited(1, 20, how, broken));
      bench.scheduler.add(TestBench.sequence(TestBench.prompt(40, 2), 5, sound));
      bench.drain();
      assertEquals(FinishReason.ERROR, broken.reason);
      assertTrue(broken.detail.contains("broken"), broken.detail);
      assertTrue(broken.tokens.size() <= 3);
      assertEquals(5, sound.tokens.size());
    }
  }

  @Test
  void masksThatNoStepHasEndTheSequence() {
    SchedulerLimits limits = new SchedulerLimits(4, 64, TestBench.BLOCK, new int[] {40});
    TestBench bench = new TestBench(2, limits, 8, 1, 0);
    RecordingSink sink = new RecordingSink();
    bench.scheduler.add(limited(1, 20, new Parity(3), sink));
    bench.drain();
    assertEquals(FinishReason.ERROR, sink.reason);
    assertTrue(sink.detail.contains("masks"), sink.detail);
    assertEquals(3, sink.tokens.size());
  }

  @Test
  void aMaskThatAllowsNothingIsAnError() {
    TestBench bench = new TestBench(2, 4, 40);
    RecordingSink sink = new RecordingSink();
    Parity nothing =
        new Parity(0) {
          @Override
          public void allow(ByteBuffer words, int offset) {
            words.putLong(offset, 0);
          }
        };
    bench.scheduler.add(limited(1, 20, nothing, sink));
    bench.drain();
    assertEquals(FinishReason.ERROR, sink.reason);
    assertTrue(sink.detail.contains("constraint"), sink.detail);
  }
}

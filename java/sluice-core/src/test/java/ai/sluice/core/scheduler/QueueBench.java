package ai.sluice.core.scheduler;

import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_ACCEPTED_COUNT;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_FINITE;

import ai.sluice.jni.StepLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Measures the planning and applying of steps while thousands wait, and asserts nothing. Its name
 * keeps it out of the tests; {@code mvn -q -pl java/sluice-core -am test -Dtest=QueueBench
 * -Dsurefire.failIfNoSpecifiedTests=false} runs it.
 */
class QueueBench {
  private static final int BLOCK = 16;
  private static final int SLOTS = 64;
  private static final int STEPS = 500;

  /**
   * All prompts begin alike, so that all but one wait for that one to compute its prompt while there
   * are slots, and then for slots.
   *
   * @param deadlines whether each has a deadline of its own, one of which passes in every step
   */
  @ParameterizedTest
  @CsvSource({"1000, 4096, false", "10000, 4096, false", "10000, 32, false", "10000, 32, true", "1000, 32768, false"})
  void stepsWhileManyWait(int sequences, int shared, boolean deadlines) {
    SchedulerLimits limits =
        new SchedulerLimits(
            SLOTS, 512, BLOCK, new int[] {SLOTS * ((shared + 64) / BLOCK + 2)});
    StepLayout layout = FakeLayout.of(2, 1, 0, limits, 0, shared + 4096, 1, 1);
    StepMessage[] messages = new StepMessage[2];
    for (int i = 0; i < 2; i++) {
      messages[i] =
          new StepMessage(
              ByteBuffer.allocateDirect((int) layout.inputBytes()).order(ByteOrder.LITTLE_ENDIAN),
              layout, 1, 1, 0, 32_000);
    }
    ByteBuffer out =
        ByteBuffer.allocateDirect((int) layout.outputBytes()).order(ByteOrder.LITTLE_ENDIAN);
    for (int row = 0; row < SLOTS; row++) {
      out.putInt((int) layout.offset()[SLUICE_SECTION_FINITE] + 4 * row, StepOutput.USABLE);
      out.putInt((int) layout.offset()[SLUICE_SECTION_ACCEPTED_COUNT] + 4 * row, 1);
    }
    StepOutput output = new StepOutput(out, layout, 0, 0, 1);
    Scheduler scheduler = new Scheduler(limits, new SchedulerCounters(), 0);
    for (int i = 0; i < sequences; i++) {
      int[] prompt = new int[shared + 8];
      Arrays.setAll(prompt, k -> 5 + k % 1009);
      prompt[shared] = 2000 + i;
      Sequence sequence =
          new Sequence(
              prompt, 16, HeadChoice.tokens(0), SamplingParams.GREEDY, i, Sequence.NO_LOGPROBS,
              new int[0], List.of(), 0, deadlines ? 1 + i : Sequence.NO_DEADLINE,
              new RecordingSink());
      sequence.cachePrefix("", BLOCK);
      scheduler.add(sequence);
    }
    StepPlan[] plans = {new StepPlan(SLOTS), new StepPlan(SLOTS)};
    long[] nanos = new long[STEPS];
    scheduler.plan(plans[0], messages[0], 0);
    for (int i = 0; i < STEPS; i++) {
      long begin = System.nanoTime();
      scheduler.expire(i);
      boolean planned = scheduler.plan(plans[(i + 1) % 2], messages[(i + 1) % 2], i);
      scheduler.apply(plans[i % 2], output, i);
      nanos[i] = System.nanoTime() - begin;
      if (!planned) {
        // Nothing is known yet that could be planned ahead.
        scheduler.plan(plans[(i + 1) % 2], messages[(i + 1) % 2], i);
      }
    }
    int prefill = shared / limits.maxStepTokens() + 2;
    System.out.printf(
        "%d wait, %d tokens shared, deadlines %s: in the %d steps of the prompt %s; then %s%n",
        sequences, shared, deadlines, prefill, times(nanos, 0, prefill),
        times(nanos, prefill, nanos.length));
  }

  private static String times(long[] nanos, int begin, int end) {
    long[] sorted = Arrays.copyOfRange(nanos, begin, end);
    Arrays.sort(sorted);
    return sorted.length == 0
        ? "-"
        : "median %.0f us, longest %.0f us"
            .formatted(sorted[sorted.length / 2] / 1e3, sorted[sorted.length - 1] / 1e3);
  }
}

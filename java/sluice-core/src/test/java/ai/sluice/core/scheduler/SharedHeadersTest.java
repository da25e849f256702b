package ai.sluice.core.scheduler;

import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_ACCEPTED_COUNT;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_FINITE;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_TOKENS;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.jni.StepLayout;
import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * A load like MMLU's with five examples: 14,042 questions, each behind one of 57 headers, for one
 * new token. Nothing is computed here, so nothing but the number of tokens is looked at.
 */
@Timeout(120)
class SharedHeadersTest {
  private static final int HEADERS = 57;
  private static final int QUESTIONS = 14_042;
  private static final int CONCURRENT = 64;
  private static final int STEP_TOKENS = 512;
  private static final long MOST_COMPUTED = 1_600_000;

  /** Steps of the scheduler, some planned before those in front of them are applied. */
  private static final class Steps {
    final SchedulerCounters counters = new SchedulerCounters();
    final Scheduler scheduler;
    private final StepPlan[] plans;
    private final StepMessage message;
    private final StepOutput output;
    private int inFlight;
    private int next;

    Steps(int blockSize, int depth) {
      // Room for 64 sequences of the longest kind, which is less than all headers.
      SchedulerLimits limits =
          new SchedulerLimits(
              CONCURRENT, STEP_TOKENS, blockSize, new int[] {CONCURRENT * 1024 / blockSize});
      scheduler = new Scheduler(limits, counters, 0);
      int blockUpdates = 2 * (STEP_TOKENS / blockSize + CONCURRENT);
      StepLayout layout = FakeLayout.of(1, 1, 0, limits, 0, blockUpdates, 1, 1);
      message = new StepMessage(ByteBuffer.allocate((int) layout.inputBytes()), layout, 1, 1, 0);
      ByteBuffer out = ByteBuffer.allocate((int) layout.outputBytes());
      for (int row = 0; row < CONCURRENT; row++) {
        out.putInt((int) layout.offset()[SLUICE_SECTION_FINITE] + 4 * row, StepOutput.USABLE);
        out.putInt((int) layout.offset()[SLUICE_SECTION_ACCEPTED_COUNT] + 4 * row, 1);
        out.putInt((int) layout.offset()[SLUICE_SECTION_TOKENS] + 4 * row, 7);
      }
      output = new StepOutput(out, layout, 0, 0, 1);
      plans = new StepPlan[depth];
      Arrays.setAll(plans, i -> new StepPlan(CONCURRENT));
    }

    void run() {
      while (inFlight < plans.length && scheduler.plan(plans[next], message, 1)) {
        next = (next + 1) % plans.length;
        inFlight++;
      }
      assertTrue(inFlight > 0);
      scheduler.apply(plans[Math.floorMod(next - inFlight--, plans.length)], output, 1);
    }

    boolean isIdle() {
      return scheduler.isIdle() && inFlight == 0;
    }
  }

  @ParameterizedTest
  @CsvSource({"16, 1", "64, 1", "16, 2", "64, 2"})
  void aHeaderIsComputedOnce(int blockSize, int depth) {
    Random random = new Random(11);
    int[][] headers = new int[HEADERS][];
    for (int h = 0; h < HEADERS; h++) {
      headers[h] = random.ints(330 + 10 * h, 0, 32_000).toArray();
    }
    Steps steps = new Steps(blockSize, depth);
    SchedulerCounters counters = steps.counters;
    ArrayDeque<RecordingSink> sinks = new ArrayDeque<>();
    long total = 0;
    long least = 0;
    for (int[] header : headers) {
      least += header.length;
    }
    for (int q = 0; q < QUESTIONS; q++) {
      int[] header = headers[(int) ((long) q * HEADERS / QUESTIONS)];
      int[] question = random.ints(30 + random.nextInt(131), 0, 32_000).toArray();
      int[] prompt = Arrays.copyOf(header, header.length + question.length);
      System.arraycopy(question, 0, prompt, header.length, question.length);
      total += prompt.length;
      least += question.length;
      RecordingSink sink = new RecordingSink();
      sinks.add(sink);
      Sequence sequence =
          new Sequence(prompt, 1, HeadChoice.tokens(0), SamplingParams.GREEDY, 1,
              Sequence.NO_LOGPROBS, new int[0], List.of(), 0, Sequence.NO_DEADLINE, sink);
      sequence.cachePrefix("", blockSize);
      steps.scheduler.add(sequence);
      while (counters.waiting.get() + counters.running.get() >= 2 * CONCURRENT) {
        steps.run();
      }
    }
    while (!steps.isIdle()) {
      steps.run();
    }
    long computed = counters.promptTokens.get();
    System.out.println(
        "blocks of " + blockSize + ", " + depth + " steps in flight: computed " + computed + " of "
            + total + " prompt tokens (least possible " + least + "), " + counters.steps.get()
            + " steps");
    assertEquals(total, computed + counters.prefixHitTokens.get());
    assertTrue(sinks.stream().allMatch(sink -> sink.tokens.size() == 1));
    assertTrue(total >= 9_850_000 && total < 9_950_000, total + " prompt tokens");
    assertTrue(computed <= MOST_COMPUTED, "computed " + computed);
    // A tenth more than without a page boundary, a wait too short, or an eviction.
    assertTrue(computed <= least * 11 / 10, computed + " of at least " + least);
  }
}

package ai.sluice.core.scheduler;

import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_ACCEPTED_COUNT;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_FINITE;
import static ai.sluice.jni.SluiceAbi.SLUICE_SECTION_TOKENS;

import ai.sluice.api.FinishReason;
import ai.sluice.api.SluiceException;
import ai.sluice.jni.StepLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/**
 * Sequences that decode, all in every step, against a runner that takes no time: what is left is
 * the planning of the next step and the applying of the one before it.
 */
final class DecodingLoad {
  static final int ROWS = 64;
  private static final int PROMPT = 16;
  private static final int BLOCK = 16;
  private static final int VOCAB = 32_000;

  /** Takes a token and makes nothing of it. */
  private static final class CountingSink implements TokenSink {
    int tokens;
    boolean over;

    @Override
    public void admitted(int cachedTokens) {}

    @Override
    public boolean token(int token, boolean stopsHere, StepOutput output, int row, int index) {
      tokens++;
      return false;
    }

    @Override
    public void finished(FinishReason reason, String detail, SequenceTimes times) {
      over = true;
    }

    @Override
    public void failed(SluiceException cause) {
      over = true;
    }
  }

  private final SchedulerCounters counters = new SchedulerCounters();
  private final CountingSink[] sinks = new CountingSink[ROWS];
  private final StepPlan[] plans = {new StepPlan(ROWS), new StepPlan(ROWS)};
  private final StepMessage[] messages = new StepMessage[2];
  private final StepOutput output;
  private final ByteBuffer out;
  private final StepLayout layout;
  private final Scheduler scheduler;
  private int steps;

  /**
   * Starts the sequences: after this each step has a row for every one of them.
   *
   * @param maxSteps most steps that will be asked for
   * @param cached whether full blocks are hashed and kept for others
   */
  DecodingLoad(int maxSteps, boolean cached) {
    int maxNew = maxSteps + 8;
    int blocks = ROWS * ((PROMPT + maxNew) / BLOCK + 2);
    SchedulerLimits limits =
        new SchedulerLimits(ROWS, ROWS * PROMPT, BLOCK, new int[] {blocks});
    scheduler = new Scheduler(limits, counters, 0);
    layout = FakeLayout.of(2, 1, 0, limits, 0, 4 * ROWS, 1, 1);
    for (int i = 0; i < 2; i++) {
      messages[i] =
          new StepMessage(
              ByteBuffer.allocateDirect((int) layout.inputBytes()).order(ByteOrder.LITTLE_ENDIAN),
              layout, 1, 1, 0, VOCAB);
    }
    out = ByteBuffer.allocateDirect((int) layout.outputBytes()).order(ByteOrder.LITTLE_ENDIAN);
    for (int row = 0; row < ROWS; row++) {
      put(SLUICE_SECTION_FINITE, row, StepOutput.USABLE);
      put(SLUICE_SECTION_ACCEPTED_COUNT, row, 1);
    }
    output = new StepOutput(out, layout, 0, 0, 1);
    for (int i = 0; i < ROWS; i++) {
      int[] prompt = new int[PROMPT];
      for (int k = 0; k < PROMPT; k++) {
        prompt[k] = i * PROMPT + k;
      }
      sinks[i] = new CountingSink();
      Sequence sequence =
          new Sequence(prompt, maxNew, HeadChoice.tokens(0), SamplingParams.GREEDY, i,
              Sequence.NO_LOGPROBS, new int[] {2}, List.of(), 0, Sequence.NO_DEADLINE, sinks[i]);
      if (cached) {
        sequence.cachePrefix("", BLOCK);
      }
      scheduler.add(sequence);
    }
    // The prompts, and a second step in flight.
    plan();
    step();
    if (plans[0].numRows != ROWS || plans[1].numRows != ROWS) {
      throw new IllegalStateException("rows: " + plans[0].numRows + ", " + plans[1].numRows);
    }
  }

  private void put(int section, int index, int value) {
    out.putInt((int) layout.offset()[section] + 4 * index, value);
  }

  private void plan() {
    if (!scheduler.plan(plans[steps % 2], messages[steps % 2], steps)) {
      throw new IllegalStateException("no step");
    }
    steps++;
  }

  /** Plans a step and applies the one before it, as if that had just ended. */
  void step() {
    plan();
    scheduler.apply(plans[steps % 2], output, steps);
  }

  /** Lets the runner answer other tokens than before. Takes no part in what is measured. */
  void answer(int seed) {
    for (int row = 0; row < ROWS; row++) {
      put(SLUICE_SECTION_TOKENS, row, 3 + Math.floorMod(seed * 31 + row * 7919, VOCAB - 3));
    }
  }

  /** Throws unless every sequence took a token in each step. */
  void check() {
    for (CountingSink sink : sinks) {
      if (sink.over || sink.tokens != steps - 1) {
        throw new IllegalStateException(sink.tokens + " tokens after " + steps + " steps");
      }
    }
  }
}

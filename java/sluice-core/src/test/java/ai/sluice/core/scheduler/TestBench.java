package ai.sluice.core.scheduler;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** A scheduler over a {@link FakeEngine} with blocks of 8 tokens, turned by hand. */
final class TestBench {
  static final int BLOCK = 8;
  static final int CONTEXT = 96;

  final SchedulerLimits limits;
  final FakeEngine engine;
  final SchedulerCounters counters = new SchedulerCounters();
  final Scheduler scheduler;
  final StepPlan[] plans;
  final StepMessage[] messages;
  long now = 1;
  int steps;
  private int inFlight;
  private int next;

  /** With a step budget of 64 tokens and sections that do not run out. */
  TestBench(int depth, int sequences, int... blocks) {
    this(depth, new SchedulerLimits(sequences, 64, BLOCK, blocks), 128, 128, sequences);
  }

  TestBench(int depth, SchedulerLimits limits, int rows, int targets, int masks) {
    this.limits = limits;
    int groups = limits.numBlocks().length;
    engine =
        new FakeEngine(
            new FakeSizes(
                depth, groups, 0, CONTEXT, 2, 4, rows, 64 * groups, 200, 8, targets, masks),
            limits);
    scheduler = new Scheduler(limits, counters, 0);
    plans = new StepPlan[depth];
    messages = new StepMessage[depth];
    for (int i = 0; i < depth; i++) {
      plans[i] = new StepPlan(limits.maxSequences());
      messages[i] = engine.message(i);
    }
  }

  /** Tokens that do not repeat themselves, and that another seed does not begin with. */
  static int[] prompt(int length, int seed) {
    int[] prompt = new int[length];
    Arrays.setAll(prompt, i -> 1 + (i * i + 7 * i * seed + seed) % (FakeModel.VOCAB - 1));
    return prompt;
  }

  static Sequence sequence(int[] prompt, int maxNew, TokenSink sink) {
    return sequence(prompt, maxNew, SamplingParams.GREEDY, sink);
  }

  static Sequence sequence(int[] prompt, int maxNew, SamplingParams sampling, TokenSink sink) {
    return new Sequence(
        prompt.clone(), maxNew, HeadChoice.tokens(0), sampling, 5, Sequence.NO_LOGPROBS,
        new int[0], List.of(), 0, Sequence.NO_DEADLINE, sink);
  }

  /** The tokens that a greedy sequence gets alone, without drafts. */
  List<Integer> alone(int[] prompt, int maxNew, SamplingParams sampling) {
    TestBench bench = new TestBench(1, 1, CONTEXT / BLOCK);
    bench.engine.repetitive = engine.repetitive;
    RecordingSink sink = new RecordingSink();
    bench.scheduler.add(sequence(prompt, maxNew, sampling, sink));
    bench.drain();
    return sink.tokens;
  }

  /** Plans and submits as many steps as there are slots; returns how many. */
  int fill() {
    int planned = 0;
    while (inFlight < plans.length && scheduler.plan(plans[next], messages[next], now)) {
      engine.submit(next);
      next = (next + 1) % plans.length;
      inFlight++;
      planned++;
      steps++;
    }
    return planned;
  }

  /** Applies the oldest step. */
  void take() {
    assertTrue(inFlight > 0, "work exists, but no step");
    int oldest = Math.floorMod(next - inFlight--, plans.length);
    engine.await(oldest, 0);
    scheduler.apply(plans[oldest], engine.outputOf(oldest), now++);
  }

  void turn() {
    fill();
    if (inFlight > 0 || !scheduler.isIdle()) {
      take();
    }
  }

  void drain() {
    for (int i = 0; !scheduler.isIdle() || inFlight > 0; i++) {
      assertTrue(i < 5000, "nothing ends");
      turn();
    }
    for (int g = 0; g < limits.numBlocks().length; g++) {
      assertEquals(0, scheduler.pool(g).used());
      assertEquals(0, scheduler.pool(g).promised());
    }
  }

  /** The sequences with tokens in the step that was planned last. */
  List<Sequence> planned() {
    StepPlan plan = plans[Math.floorMod(next - 1, plans.length)];
    return new ArrayList<>(Arrays.asList(plan.sequences).subList(0, plan.numSequences));
  }
}

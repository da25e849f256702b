package ai.sluice.core.scheduler;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.FinishReason;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Random arrivals of related prompts, cancels and timeouts against a model that notices every wrong
 * block.
 */
class SchedulerSimulationTest {
  private static final HeadChoice HEAD = HeadChoice.tokens(0);

  private static final int SEEDS = 120;
  private static final int STEPS = 600;

  private record Case(
      Sequence sequence, RecordingSink sink, int[] prompt, SamplingParams sampling, long seed,
      int maxNew, double frequency) {}

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3})
  void everySequenceGetsTheTokensItWouldGetAlone(int depth) {
    int finished = 0;
    int cancelled = 0;
    int timedOut = 0;
    long hits = 0;
    long evictions = 0;
    int copies = 0;
    long preemptions = 0;
    int pinned = 0;
    for (int seed = 0; seed < SEEDS; seed++) {
      Simulation simulation = new Simulation(seed, depth);
      try {
        simulation.run(STEPS);
      } catch (Throwable e) {
        throw new AssertionError("seed " + seed + ", depth " + depth, e);
      }
      finished += simulation.count(FinishReason.STOP) + simulation.count(FinishReason.LENGTH);
      cancelled += simulation.count(FinishReason.CANCELLED);
      timedOut += simulation.count(FinishReason.TIMEOUT);
      hits += simulation.counters.prefixHits.get();
      evictions += simulation.counters.prefixEvictions.get();
      copies += simulation.engine.copies;
      preemptions += simulation.counters.preemptions.get();
      pinned += (int) simulation.cases.stream().filter(c -> c.sequence().isPinned()).count();
    }
    // The simulation must have met what it is about.
    assertTrue(finished > SEEDS * 20, "finished: " + finished);
    assertTrue(cancelled > SEEDS, "cancelled: " + cancelled);
    assertTrue(timedOut > SEEDS / 4, "timed out: " + timedOut);
    assertTrue(hits > SEEDS * 10, "prefix hits: " + hits);
    assertTrue(evictions > SEEDS * 10, "evictions: " + evictions);
    assertTrue(copies > SEEDS * 5, "copies: " + copies);
    assertTrue(preemptions > SEEDS * 5, "preemptions: " + preemptions);
    assertTrue(pinned > SEEDS, "preempted three times: " + pinned);
  }

  @Test
  void aSeedReproducesARun() {
    Simulation first = new Simulation(7, 2);
    Simulation second = new Simulation(7, 2);
    first.run(200);
    second.run(200);
    assertEquals(first.cases.size(), second.cases.size());
    for (int i = 0; i < first.cases.size(); i++) {
      assertEquals(first.cases.get(i).sink().tokens, second.cases.get(i).sink().tokens);
      assertEquals(first.cases.get(i).sink().times, second.cases.get(i).sink().times);
    }
  }

  private static final class Simulation {
    final List<Case> cases = new ArrayList<>();
    private final List<Case> open = new ArrayList<>();
    private final Random random;
    private final int depth;
    private final SchedulerLimits limits;
    private final int maxContext = 60;
    private final FakeEngine engine;
    private final SchedulerCounters counters = new SchedulerCounters();
    private final Scheduler scheduler;
    private final StepMessage[] messages;
    private final StepOutput[] outputs;
    private final StepPlan[] plans;
    private final boolean priorities;
    private long now = 1000;
    private int inFlight;
    private int nextSlot;

    Simulation(long seed, int depth) {
      random = new Random(seed);
      this.depth = depth;
      int groups = 1 + random.nextInt(2);
      int ropes = random.nextInt(2);
      priorities = random.nextInt(3) == 0;
      int maxSequences = 1 + random.nextInt(7);
      int blocks = 8 + random.nextInt(14);
      int[] numBlocks = groups == 1 ? new int[] {blocks} : new int[] {blocks, blocks + 3};
      int[] retention = new int[groups];
      for (int g = 0; g < groups; g++) {
        retention[g] = random.nextInt(2) == 0 ? 0 : 2 + random.nextInt(25);
      }
      limits = new SchedulerLimits(
          maxSequences, maxSequences + random.nextInt(30), 8, numBlocks, retention);
      engine = new FakeEngine(depth, groups, ropes, limits, maxContext, 3,
          groups + random.nextInt(10), 1 + random.nextInt(20), 4 + random.nextInt(4));
      scheduler = new Scheduler(limits, counters, 0);
      messages = new StepMessage[depth];
      outputs = new StepOutput[depth];
      plans = new StepPlan[depth];
      for (int i = 0; i < depth; i++) {
        messages[i] = engine.message(i);
        outputs[i] = engine.outputOf(i);
        plans[i] = new StepPlan(maxSequences);
      }
    }

    int count(FinishReason reason) {
      return (int) cases.stream().filter(c -> c.sink().reason == reason).count();
    }

    void run(int steps) {
      for (int step = 0; step < steps; step++) {
        if (random.nextInt(3) == 0) {
          arrive();
        }
        if (random.nextInt(25) == 0 && !cases.isEmpty()) {
          Case victim = cases.get(random.nextInt(cases.size()));
          scheduler.finish(victim.sequence(), FinishReason.CANCELLED, "asked", now);
        }
        turn();
      }
      for (int i = 0; !scheduler.isIdle() || inFlight > 0; i++) {
        assertTrue(i < 20_000, "work exists, but nothing moves");
        turn();
      }
      for (int g = 0; g < limits.numBlocks().length; g++) {
        assertEquals(0, scheduler.pool(g).used());
        assertEquals(0, scheduler.pool(g).promised());
      }
      cases.forEach(this::checkCase);
      assertEquals(
          cases.stream().mapToLong(c -> c.sink().cachedTokens).sum(),
          counters.prefixHitTokens.get());
    }

    private void arrive() {
      int[] prompt = prompt();
      int promptLength = prompt.length;
      int maxNew = 1 + random.nextInt(maxContext - promptLength);
      int[] biasTokens = random.nextInt(4) == 0 ? new int[] {3, 5} : new int[0];
      float[] biases = biasTokens.length == 0 ? new float[0] : new float[] {2, -1};
      SamplingParams sampling = new SamplingParams(
          random.nextInt(2), 0, 1, 0, random.nextInt(3) == 0 ? 1.5f : 1,
          random.nextInt(3) == 0 ? 0.5f : 0, 0, biasTokens, biases);
      long seed = random.nextLong();
      double frequency =
          engine.ropes > 0 && random.nextInt(2) == 0 ? 0.5 + random.nextInt(2) : 0;
      List<RopeFrequencies> ropes = frequency == 0
          ? List.of()
          : List.of(new RopeFrequencies(0, 1, new double[] {frequency}, 1));
      RecordingSink sink = new RecordingSink();
      if (random.nextInt(5) == 0) {
        sink.stopAfter = 1 + random.nextInt(10);
      }
      long deadline = random.nextInt(12) == 0
          ? now + random.nextInt(60) : Sequence.NO_DEADLINE;
      Sequence sequence = new Sequence(prompt.clone(), maxNew, HEAD, sampling, seed,
          random.nextInt(4) - 1, new int[] {FakeEngine.EOS}, ropes, now, deadline, sink);
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
      cases.add(new Case(sequence, sink, prompt, sampling, seed, maxNew, frequency));
      open.add(cases.get(cases.size() - 1));
      scheduler.add(sequence);
    }

    /** Plans a step, which must not preempt who goes first. */
    private boolean plan() {
      Sequence first =
          open.stream()
              .map(Case::sequence)
              .filter(s -> s.state == Sequence.State.RUNNING)
              .min(Sequence::compare)
              .orElse(null);
      int before = first == null ? 0 : first.numPreemptions;
      boolean planned = scheduler.plan(plans[nextSlot], messages[nextSlot], now);
      assertTrue(first == null || first.numPreemptions == before, "the first was preempted");
      assertTrue(planned || inFlight > 0 || scheduler.isIdle(), "work exists, but no step");
      return planned;
    }

    /** A new prompt, or one that goes on from any point of an earlier sequence. */
    private int[] prompt() {
      int length = 1 + random.nextInt(40);
      int[] prompt = random.ints(length, 1, FakeEngine.VOCAB).toArray();
      if (!cases.isEmpty() && random.nextInt(4) > 0) {
        Case earlier = cases.get(Math.max(0, cases.size() - 1 - random.nextInt(8)));
        int known = earlier.prompt().length + earlier.sink().tokens.size();
        int shared = Math.min(random.nextInt(known + 1), length);
        for (int i = 0; i < shared; i++) {
          int fresh = i - earlier.prompt().length;
          prompt[i] = fresh < 0 ? earlier.prompt()[i] : earlier.sink().tokens.get(fresh);
        }
      }
      return prompt;
    }

    private void turn() {
      now++;
      scheduler.expire(now);
      while (inFlight < depth && plan()) {
        assertTrue(plans[nextSlot].numTokens() <= limits.maxStepTokens());
        engine.submit(nextSlot);
        nextSlot = (nextSlot + 1) % depth;
        inFlight++;
        checkBooks();
      }
      if (inFlight > 0) {
        int oldest = Math.floorMod(nextSlot - inFlight, depth);
        assertTrue(engine.await(oldest, 0));
        inFlight--;
        scheduler.apply(plans[oldest], outputs[oldest], now);
      }
      checkBooks();
    }

    /** Every block is counted by exactly those who use it, and kept for at most one thing. */
    private void checkBooks() {
      Set<PrefixNode> nodes = Collections.newSetFromMap(new IdentityHashMap<>());
      nodes.addAll(scheduler.prefixCache().nodes());
      Map<PrefixNode, Integer> holders = new IdentityHashMap<>();
      Map<PrefixNode, Integer> children = new IdentityHashMap<>();
      for (Case c : open) {
        Sequence s = c.sequence();
        for (int i = 0; i < s.numNodes; i++) {
          holders.merge(s.nodes[i], 1, Integer::sum);
        }
        assertTrue(s.state == Sequence.State.RUNNING || s.numNodes == 0, "held by nobody");
      }
      for (PrefixNode node : nodes) {
        assertTrue(!node.isUnused(), "a node that nothing needs");
        assertTrue(
            node.computer == null || node.computer.state == Sequence.State.RUNNING,
            "computed by a sequence that ended");
        if (node.parent != null) {
          assertTrue(nodes.contains(node.parent), "a node without its parent");
          children.merge(node.parent, 1, Integer::sum);
        }
      }
      for (PrefixNode node : nodes) {
        assertEquals(holders.getOrDefault(node, 0), node.numHolders);
        assertEquals(children.getOrDefault(node, 0), node.numChildren);
      }
      for (int g = 0; g < limits.numBlocks().length; g++) {
        checkPool(g, nodes);
      }
      open.removeIf(c -> c.sequence().state == Sequence.State.FINISHED);
    }

    private void checkPool(int g, Set<PrefixNode> nodes) {
      BlockPool pool = scheduler.pool(g);
      int[] references = new int[pool.total()];
      int promised = 0;
      for (Case c : open) {
        Sequence s = c.sequence();
        if (s.state == Sequence.State.RUNNING) {
          promised += s.numPromised - s.numBlocks;
          for (int i = s.firstBlock[g]; i < s.numBlocks; i++) {
            references[s.blocks[g][i]]++;
          }
        }
      }
      int used = 0;
      int kept = 0;
      for (int block = 0; block < references.length; block++) {
        assertEquals(references[block], pool.references(block), "references of block " + block);
        used += references[block] > 0 ? 1 : 0;
        PrefixNode content = pool.content(block);
        if (content != null) {
          assertEquals(block, content.blocks[g]);
          assertTrue(nodes.contains(content), "kept for a node that is not known");
          kept++;
        }
      }
      assertEquals(
          kept, nodes.stream().filter(node -> node.blocks[g] != PrefixNode.NONE).count());
      assertEquals(used, pool.used());
      assertEquals(pool.total(), pool.free() + pool.used());
      assertTrue(pool.cached() <= kept && pool.cached() <= pool.free());
      assertEquals(promised, pool.promised());
      assertTrue(used + promised <= pool.total());
    }

    private void checkCase(Case c) {
      FinishReason reason = c.sink().reason;
      assertNotNull(reason, "a sequence was lost");
      assertTrue(c.sink().admissions <= 1);
      assertTrue(c.sequence().numPreemptions <= 3);
      List<Integer> alone = alone(c);
      List<Integer> got = c.sink().tokens;
      assertTrue(got.size() <= alone.size(), "more tokens than alone");
      assertEquals(alone.subList(0, got.size()), got, "tokens of " + reason);
      if (reason == FinishReason.LENGTH) {
        assertEquals(c.maxNew(), got.size());
      } else if (reason == FinishReason.STOP) {
        assertTrue(got.get(got.size() - 1) == FakeEngine.EOS
            || got.size() == c.sink().stopAfter);
      }
    }

    private List<Integer> alone(Case c) {
      SamplingParams s = c.sampling();
      int bias = 0;
      for (int i = 0; i < s.biasTokens().length; i++) {
        bias += s.biasTokens()[i] * 31 + (int) s.biases()[i];
      }
      List<Integer> result = new ArrayList<>();
      int[] tokens = java.util.Arrays.copyOf(c.prompt(), c.prompt().length + c.maxNew());
      int length = c.prompt().length;
      while (result.size() < c.maxNew() && result.size() < c.sink().stopAfter) {
        int token = FakeEngine.next(tokens, length, c.seed(), s.temperature(),
            s.repetitionPenalty() != 1 ? c.prompt().length : 0,
            s.repetitionPenalty() != 1 || s.presencePenalty() != 0 ? result.size() : 0,
            c.frequency(), bias);
        result.add(token);
        tokens[length++] = token;
        if (token == FakeEngine.EOS) {
          break;
        }
      }
      return result;
    }
  }
}

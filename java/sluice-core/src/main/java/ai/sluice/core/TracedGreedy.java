package ai.sluice.core;

import ai.sluice.api.GenerationRequest;
import ai.sluice.api.Sampling;
import ai.sluice.core.VerificationReport.Check;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Greedy tokens twice: from traced steps, as they are compared with expected outputs, and from the
 * engine's own, which on a device are captured in graphs and batched as they come. Where two
 * tokens are as near as rounding either may come out; any other difference is a defect. First
 * {@link #trace}, then {@link #compare}. Not thread-safe.
 */
final class TracedGreedy {
  /** New tokens of a prompt. */
  static final int TOKENS = 8;

  private final List<int[]> prompts;
  private final double nearest;
  private final List<int[]> tokens = new ArrayList<>();
  private final List<float[]> gaps = new ArrayList<>();

  /**
   * @param nearest difference of logits up to which two tokens may change places
   */
  TracedGreedy(List<int[]> prompts, double nearest) {
    this.prompts = prompts;
    this.nearest = nearest;
  }

  /** Continues every prompt, a step for each token. */
  void trace(StepDriver driver) {
    for (int i = 0; i < prompts.size(); i++) {
      int length = prompts.get(i).length;
      int[] path = Arrays.copyOf(prompts.get(i), length + TOKENS);
      float[] gap = new float[TOKENS];
      int computed = 0;
      for (int at = 0; at < TOKENS; at++) {
        driver.begin();
        driver.add(i, path, computed, length + at);
        TracedTensor logits = driver.trace(List.of("logits")).get("logits");
        computed = length + at;
        float[] last =
            Arrays.copyOfRange(
                logits.values(), logits.values().length - logits.columns(), logits.values().length);
        int best = 0;
        float second = Float.NEGATIVE_INFINITY;
        for (int token = 1; token < last.length; token++) {
          if (last[token] > last[best]) {
            second = last[best];
            best = token;
          } else if (last[token] > second) {
            second = last[token];
          }
        }
        path[length + at] = best;
        gap[at] = last[best] - second;
      }
      driver.reset(i);
      tokens.add(Arrays.copyOfRange(path, length, path.length));
      gaps.add(gap);
    }
  }

  /** The same prompts by the engine, one after another and all at once. */
  List<Check> compare(Engine engine) {
    return compare(engine, prompts);
  }

  /** The tokens traced for these prompts against the engine's for others. */
  List<Check> compare(Engine engine, List<int[]> prompts) {
    List<List<Integer>> alone = new ArrayList<>();
    for (int[] prompt : prompts) {
      alone.add(engine.generate(request(prompt, TOKENS)).tokens());
    }
    List<Generation> open = new ArrayList<>();
    for (int[] prompt : prompts) {
      open.add(engine.submit(request(prompt, TOKENS)));
    }
    List<List<Integer>> together = open.stream().map(g -> g.result().join().tokens()).toList();
    return List.of(
        check("greedy tokens as traced, alone", alone),
        check("greedy tokens as traced, batched", together));
  }

  private Check check(String name, List<List<Integer>> got) {
    int compared = 0;
    int different = 0;
    int near = 0;
    String first = "";
    for (int i = 0; i < tokens.size(); i++) {
      for (int at = 0; at < TOKENS; at++) {
        int token = at < got.get(i).size() ? got.get(i).get(at) : -1;
        compared++;
        if (token == tokens.get(i)[at]) {
          continue;
        }
        if (token >= 0 && gaps.get(i)[at] <= nearest) {
          near++;
        } else {
          different++;
          if (first.isEmpty()) {
            first = ", first difference: prompt " + i + " token " + at + ": " + token
                + " (expected: " + tokens.get(i)[at] + ", ahead by " + gaps.get(i)[at] + ")";
          }
        }
        break; // what follows another token is another text
      }
    }
    return new Check(
        name,
        different == 0,
        (double) different / compared,
        0,
        compared + " tokens compared, " + near + " prompts parted where two tokens were near"
            + first);
  }

  /** Greedy, with nothing else that changes a choice. */
  static GenerationRequest request(int[] prompt, int newTokens) {
    return GenerationRequest.builder()
        .promptTokens(prompt)
        .sampling(
            Sampling.greedy().toBuilder()
                .repetitionPenalty(1)
                .presencePenalty(0)
                .frequencyPenalty(0)
                .build())
        .maxNewTokens(newTokens)
        .ignoreEos(true)
        .build();
  }
}

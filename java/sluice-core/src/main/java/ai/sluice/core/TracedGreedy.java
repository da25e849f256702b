package ai.sluice.core;

import ai.sluice.api.GenerationRequest;
import ai.sluice.api.Sampling;
import ai.sluice.core.VerificationReport.Check;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * Greedy tokens twice: from traced steps, as they are compared with expected outputs, and from the
 * engine's own, which on a device are captured in graphs and batched as they come. A token that the
 * traced step holds for nearly as likely may come out too; any other is a defect. First {@link
 * #trace}, then {@link #compare}. Not thread-safe.
 */
final class TracedGreedy {
  /** New tokens of a prompt. */
  static final int TOKENS = 8;

  private final List<int[]> prompts;
  private final double nearest;
  private final List<int[]> tokens = new ArrayList<>();
  // Of each prompt and step.
  private final List<List<float[]>> logits = new ArrayList<>();

  /**
   * @param nearest standard deviations of a step's logits by which a token may lie behind the best.
   *     In narrow arithmetic the last expert of a token may be another in another batch, which moves
   *     logits by some tenths; tokens chosen for no reason lie three or four behind
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
      List<float[]> steps = new ArrayList<>();
      int computed = 0;
      for (int at = 0; at < TOKENS; at++) {
        driver.begin();
        driver.add(i, path, computed, length + at);
        TracedTensor traced = driver.trace(List.of("logits")).get("logits");
        computed = length + at;
        float[] last =
            Arrays.copyOfRange(
                traced.values(), traced.values().length - traced.columns(), traced.values().length);
        int best = 0;
        for (int token = 1; token < last.length; token++) {
          if (last[token] > last[best]) {
            best = token;
          }
        }
        path[length + at] = best;
        steps.add(last);
      }
      driver.reset(i);
      tokens.add(Arrays.copyOfRange(path, length, path.length));
      logits.add(steps);
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
        double behind = behind(logits.get(i).get(at), tokens.get(i)[at], token);
        if (behind <= nearest) {
          near++;
        } else {
          different++;
          if (first.isEmpty()) {
            first = ", first difference: prompt " + i + " token " + at + ": " + token
                + String.format(
                    Locale.ROOT, " (expected: %d, ahead by %.3g standard deviations)",
                    tokens.get(i)[at], behind);
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
        compared + " tokens compared, " + near + " prompts went on with another as near"
            + first);
  }

  /** How far a token lies behind the best, in standard deviations; infinitely if there is none. */
  private static double behind(float[] logits, int best, int token) {
    if (token < 0 || token >= logits.length) {
      return Double.POSITIVE_INFINITY;
    }
    double sum = 0;
    double squares = 0;
    for (float value : logits) {
      sum += value;
      squares += (double) value * value;
    }
    double mean = sum / logits.length;
    return (logits[best] - logits[token]) / Math.sqrt(squares / logits.length - mean * mean);
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

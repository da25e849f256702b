package ai.sluice.core;

import ai.sluice.core.DecisionReplay.Span;
import ai.sluice.core.VerificationReport.Check;
import ai.sluice.core.VerificationReport.KernelRun;
import ai.sluice.proto.KernelChoice;
import ai.sluice.proto.ModelSpec;
import ai.sluice.proto.TraceReplay;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * Compares prompts of which the logits of some positions are expected: whole, in chunks, and their
 * last tokens one a step behind a long context, alone and together. The expected decisions are
 * taken over, since of thousands some are as near as rounding, even float32's; the experts that the
 * model chooses itself are counted before. In bfloat16, where a reference in it is in the file, its
 * error at the same positions is the measure, and how many other experts it chooses. Notes which
 * kernels ran. Beside it, {@link TracedGreedy} holds the engine's own steps against traced ones.
 * Not thread-safe.
 */
final class LongPrompts {
  /** Times the reference's error in the same arithmetic. */
  static final double REFERENCE_TOLERANCE = 1.5;

  /** Tokens at a prompt's end that run one a step. */
  private static final int DECODED = 8;

  /**
   * Of the tokens, those whose experts may differ in float32: among thousands the last chosen and
   * the first left out can be as near as rounding.
   */
  private static final double CHOICE_TOLERANCE = 1e-3;

  private static final String CHOICES = "router choices";
  private static final String LOGITS = "logits";
  private static final String EXPERTS = "router_idx_";
  private static final String REFERENCE_EXPERTS = "router_idx_bfloat16_";

  private final ExpectedOutputs expected;
  private final ModelSpec spec;
  private final StepDriver driver;
  private final boolean exact;
  private final double tolerance;
  private final List<int[]> prompts;
  private final List<Check> checks = new ArrayList<>();
  private final Set<KernelRun> kernels = new LinkedHashSet<>();

  LongPrompts(
      ExpectedOutputs expected,
      ModelSpec spec,
      StepDriver driver,
      boolean exact,
      double tolerance) {
    this.expected = expected;
    this.spec = spec;
    this.driver = driver;
    this.exact = exact;
    this.tolerance = tolerance;
    prompts = expected.prompts();
  }

  /** Runs everything. */
  void check() {
    checkChoices();
    Mode whole = new Mode("whole prompt");
    Mode chunked = new Mode("chunked prefill");
    Mode alone = new Mode("decode");
    for (int i = 0; i < prompts.size(); i++) {
      int length = prompts.get(i).length;
      whole.run(List.of(new Span(i, 0, length)));
      driver.reset(i);
      int chunk = Math.max(2, length / 4 - 1);
      for (int begin = 0; begin < length; begin += chunk) {
        chunked.run(List.of(new Span(i, begin, Math.min(length, begin + chunk))));
      }
      driver.reset(i);
      fill(i);
      for (int at = firstDecoded(i); at < length; at++) {
        alone.run(List.of(new Span(i, at, at + 1)));
      }
      driver.reset(i);
    }
    for (Mode mode : List.of(whole, chunked, alone)) {
      mode.report();
    }
    decodeTogether();
  }

  /** The experts that the model chooses itself; the runs after this are given the expected ones. */
  private void checkChoices() {
    int chosen = 0;
    int different = 0;
    int referenceDifferent = 0;
    boolean reference = true;
    for (int i = 0; i < prompts.size(); i++) {
      List<Integer> layers = layersWithExperts(i);
      if (layers.isEmpty()) {
        continue;
      }
      Span whole = new Span(i, 0, prompts.get(i).length);
      List<String> names = layers.stream().map(layer -> EXPERTS + layer).toList();
      Map<String, TracedTensor> traced = run(List.of(whole), names, List.of());
      noteKernels(CHOICES);
      driver.reset(i);
      for (int layer : layers) {
        String name = EXPERTS + i + "_" + layer;
        String referenceName = REFERENCE_EXPERTS + i + "_" + layer;
        int choices = expected.choices(name, i);
        long[] want = expected.longs(name);
        chosen += whole.length();
        different += differentSets(longs(traced.get(EXPERTS + layer).values()), want, choices);
        if (!exact && expected.has(referenceName)) {
          expected.requireChoices(referenceName, i, choices);
          referenceDifferent += differentSets(expected.longs(referenceName), want, choices);
        } else {
          reference = false;
        }
      }
    }
    if (chosen == 0 || (!exact && !reference)) {
      return;
    }
    double share = (double) different / chosen;
    double ofReference = (double) referenceDifferent / chosen;
    double allowed = Math.max(CHOICE_TOLERANCE, REFERENCE_TOLERANCE * ofReference);
    checks.add(
        new Check(
            CHOICES,
            share < allowed,
            share,
            allowed,
            different + " of " + chosen + " tokens have other experts"
                + (reference ? ", of the reference's " + referenceDifferent : "")));
  }

  private List<Integer> layersWithExperts(int prompt) {
    return IntStream.range(0, spec.getLayersCount())
        .filter(layer -> expected.has(EXPERTS + prompt + "_" + layer))
        .boxed()
        .toList();
  }

  private static long[] longs(float[] values) {
    long[] longs = new long[values.length];
    for (int i = 0; i < values.length; i++) {
      longs[i] = (long) values[i];
    }
    return longs;
  }

  /** Tokens whose experts, as sets, differ. */
  private static int differentSets(long[] a, long[] b, int choices) {
    int different = 0;
    for (int at = 0; at < b.length; at += choices) {
      long[] left = Arrays.copyOfRange(a, at, at + choices);
      long[] right = Arrays.copyOfRange(b, at, at + choices);
      Arrays.sort(left);
      Arrays.sort(right);
      different += Arrays.equals(left, right) ? 0 : 1;
    }
    return different;
  }

  private void noteKernels(String mode) {
    for (KernelChoice kernel : driver.kernels()) {
      kernels.add(new KernelRun(mode, kernel.getOp(), kernel.getVariant()));
    }
  }

  List<Check> checks() {
    return checks;
  }

  List<KernelRun> kernels() {
    return List.copyOf(kernels);
  }

  private int firstDecoded(int prompt) {
    return Math.max(0, prompts.get(prompt).length - DECODED);
  }

  /** Computes what lies before the decoded tokens. */
  private void fill(int prompt) {
    if (firstDecoded(prompt) > 0) {
      run(List.of(new Span(prompt, 0, firstDecoded(prompt))));
    }
  }

  /** The last tokens of all prompts side by side; short prompts join later. */
  private void decodeTogether() {
    // Masks are given for all sequences of a step or for none, which is too few in bfloat16.
    List<Integer> together = new ArrayList<>();
    boolean masks = DecisionReplay.hasMasks(expected, spec, 0);
    for (int i = 0; i < prompts.size(); i++) {
      if (exact || DecisionReplay.hasMasks(expected, spec, i) == masks) {
        together.add(i);
      }
    }
    if (together.size() < 2) {
      return;
    }
    Mode mode = new Mode("decode, " + together.size() + " together");
    together.forEach(this::fill);
    for (int left = DECODED; left > 0; left--) {
      List<Span> spans = new ArrayList<>();
      for (int i : together) {
        int at = prompts.get(i).length - left;
        if (at >= 0) {
          spans.add(new Span(i, at, at + 1));
        }
      }
      mode.run(spans);
    }
    together.forEach(driver::reset);
    mode.report();
  }

  /** With the expected decisions, which float32 does without where they are not there. */
  private TracedTensor run(List<Span> spans) {
    boolean given =
        !exact
            || spans.stream().allMatch(s -> DecisionReplay.hasExperts(expected, spec, s.prompt()));
    List<TraceReplay> replays = given ? DecisionReplay.of(expected, spec, spans) : List.of();
    return run(spans, List.of(LOGITS), replays).get(LOGITS);
  }

  private Map<String, TracedTensor> run(
      List<Span> spans, List<String> names, List<TraceReplay> replays) {
    driver.begin();
    for (Span span : spans) {
      driver.add(span.prompt(), prompts.get(span.prompt()), span.begin(), span.end());
    }
    return driver.trace(names, replays);
  }

  /** One way to compute the prompts, and what came out at the expected positions. */
  private final class Mode {
    private final String name;
    // Of each prompt, the expected positions that were computed, and their logits.
    private final List<List<Integer>> rows = new ArrayList<>();
    private final List<List<float[]>> logits = new ArrayList<>();

    Mode(String name) {
      this.name = name;
      for (int i = 0; i < prompts.size(); i++) {
        rows.add(new ArrayList<>());
        logits.add(new ArrayList<>());
      }
    }

    void run(List<Span> spans) {
      TracedTensor traced = LongPrompts.this.run(spans);
      noteKernels(name);
      int columns = traced.columns();
      int first = 0;
      for (Span span : spans) {
        int[] positions = expected.positions(span.prompt());
        for (int row = 0; row < positions.length; row++) {
          int at = positions[row] - span.begin();
          if (at >= 0 && positions[row] < span.end()) {
            rows.get(span.prompt()).add(row);
            int begin = (first + at) * columns;
            logits
                .get(span.prompt())
                .add(Arrays.copyOfRange(traced.values(), begin, begin + columns));
          }
        }
        first += span.length();
      }
    }

    void report() {
      int compared = 0;
      double worst = -1;
      double worstError = 0;
      double worstTolerance = tolerance;
      String worstName = "none";
      for (int i = 0; i < prompts.size(); i++) {
        if (rows.get(i).isEmpty()) {
          continue;
        }
        float[] want = rowsOf("logits64_" + i, i);
        double error = ErrorMeter.relative(joined(logits.get(i)), want);
        double allowed = tolerance;
        String reference = "logits_bfloat16_" + i;
        if (!exact && expected.has(reference)) {
          allowed = REFERENCE_TOLERANCE * ErrorMeter.relative(rowsOf(reference, i), want);
        }
        compared++;
        // NaN is the worst of all.
        if (!(error / allowed <= worst) && !Double.isNaN(worst)) {
          worst = error / allowed;
          worstError = error;
          worstTolerance = allowed;
          worstName = "prompt " + i + " of " + prompts.get(i).length + " tokens";
          if (allowed != tolerance) {
            worstName +=
                String.format(
                    Locale.ROOT, ", %.2f of the reference's error", worst * REFERENCE_TOLERANCE);
          }
        }
      }
      checks.add(
          new Check(
              "logits, " + name,
              worstError < worstTolerance,
              worstError,
              worstTolerance,
              compared + " compared, worst: " + worstName));
    }

    private float[] rowsOf(String tensor, int prompt) {
      float[] all = expected.floats(tensor);
      int columns = all.length / expected.positions(prompt).length;
      List<float[]> found = new ArrayList<>();
      for (int row : rows.get(prompt)) {
        found.add(Arrays.copyOfRange(all, row * columns, (row + 1) * columns));
      }
      return joined(found);
    }
  }

  private static float[] joined(List<float[]> parts) {
    float[] all = new float[parts.stream().mapToInt(part -> part.length).sum()];
    int at = 0;
    for (float[] part : parts) {
      System.arraycopy(part, 0, all, at, part.length);
      at += part.length;
    }
    return all;
  }
}

package ai.sluice.core;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineOptions;
import ai.sluice.checkpoint.Checkpoint;
import ai.sluice.core.VerificationReport.Check;
import ai.sluice.core.VerificationReport.KernelRun;
import ai.sluice.proto.HeadKind;
import ai.sluice.proto.ModelSpec;
import ai.sluice.proto.TraceReplay;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Compares a model with the outputs it must produce, which lie in {@code expected.safetensors}
 * beside its weights (format: tests/golden/fixtures/README.md): logits of each prompt whole, in
 * chunks, token by token and in a ragged batch; hidden states; what routers, capacities and masks
 * decided, the same ways; other heads; greedy tokens, alone and batched. In bfloat16 logits alone,
 * and of a model that chooses experts or keys those of the first prompt, with the expected choices.
 * Where logits of some positions alone are expected, as of long prompts, see {@link LongPrompts}.
 */
public final class Verifier {
  /** The file that holds the expected outputs. */
  public static final String EXPECTED = "expected.safetensors";

  /** Largest relative L2 error in float32. */
  public static final double FLOAT32_TOLERANCE = 1e-4;

  /** Largest relative L2 error of logits in bfloat16. */
  public static final double BFLOAT16_TOLERANCE = 2e-2;

  /** See {@link TracedGreedy}. */
  private static final double NEAR_TOKENS = 1e-2;

  private static final double BFLOAT16_NEAR_TOKENS = 1;

  private static final int USUAL_STEP = 512;

  /** At least what a backend takes unasked. */
  private static final int USUAL_BLOCK = 64;

  private static final String LOGITS = "logits";
  private static final String FINAL_NORM = "final_norm";
  private static final String HIDDEN = "hidden_";

  private final ExpectedOutputs expected;
  private final Checkpoint checkpoint;
  private final List<int[]> prompts;
  private final List<Check> checks = new ArrayList<>();
  private List<KernelRun> kernels = List.of();
  private double tolerance;

  private Verifier(ExpectedOutputs expected, Checkpoint checkpoint) {
    this.expected = expected;
    this.checkpoint = checkpoint;
    prompts = expected.prompts();
  }

  /**
   * Loads a model and compares it.
   *
   * @param options the model, and how to run it; dtype AUTO means FLOAT32. Sizes are set to what
   *     the prompts need
   * @throws CheckpointFormatException if there is no file of expected outputs, or it is damaged
   * @throws ai.sluice.api.SluiceException as {@link Engine#open}
   */
  public static VerificationReport verify(EngineOptions options) {
    Path model = options.model();
    Path folder = Files.isDirectory(model) ? model : model.toAbsolutePath().getParent();
    Path file = folder.resolve(EXPECTED);
    if (!Files.exists(file)) {
      throw new CheckpointFormatException(
          file,
          null,
          "missing (expected: outputs to compare with; sluice-export golden writes them)");
    }
    Checkpoint checkpoint = Checkpoint.open(model);
    return new Verifier(new ExpectedOutputs(file, checkpoint), checkpoint).run(options);
  }

  private VerificationReport run(EngineOptions asked) {
    int longest = prompts.stream().mapToInt(p -> p.length).max().orElseThrow();
    long together = prompts.stream().mapToLong(p -> p.length).sum();
    int mostNew = expected.greedy().stream().mapToInt(g -> g.length).max().orElse(0);
    if (expected.hasPositions()) {
      mostNew = Math.max(mostNew, TracedGreedy.TOKENS);
    }
    // Each prompt runs whole in one step; together they may take several.
    long stepTokens = Math.max(longest, Math.min(together, asked.maxStepTokens().orElse(USUAL_STEP)));
    EngineOptions options =
        asked.toBuilder()
            .dtype(asked.dtype() == ComputeDtype.AUTO ? ComputeDtype.FLOAT32 : asked.dtype())
            .maxContextLength(
                (int) Math.min(checkpoint.maxPositions(), (long) longest + mostNew + 1))
            .maxSequences(prompts.size())
            .maxStepTokens(
                (int)
                    Math.max(
                        stepTokens,
                        Math.max(prompts.size(), asked.blockSize().orElse(USUAL_BLOCK))))
            .build();
    boolean exact = options.dtype() == ComputeDtype.FLOAT32;
    tolerance = exact ? FLOAT32_TOLERANCE : BFLOAT16_TOLERANCE;
    TracedGreedy greedy = new TracedGreedy(prompts, exact ? NEAR_TOKENS : BFLOAT16_NEAR_TOKENS);
    long lastStepId;
    LoadedModel model = LoadedModel.load(checkpoint, options, OptionResolver.systemInfo());
    try {
      StepDriver driver = new StepDriver(model);
      ModelSpec spec = model.options().spec();
      if (expected.hasPositions()) {
        LongPrompts longPrompts = new LongPrompts(expected, spec, driver, exact, tolerance);
        longPrompts.check();
        checks.addAll(longPrompts.checks());
        kernels = longPrompts.kernels();
        greedy.trace(driver);
      } else if (exact || !DecisionReplay.decides(spec)) {
        Decisions decisions = exact ? decisions(spec) : null;
        checkWhole(driver, spec, exact, decisions);
        checkChunks(driver, "chunked prefill", this::chunkOf, decisions);
        checkChunks(driver, "one token a step", length -> 1, decisions);
        checkRagged(driver, model.options().maxStepTokens(), decisions);
      } else {
        checkReplayed(driver, spec);
      }
      lastStepId = driver.lastStepId();
    } catch (Throwable e) {
      model.close();
      throw e;
    }
    try (Engine engine = new Engine(model, options, null, lastStepId)) {
      if (expected.hasPositions()) {
        checks.addAll(greedy.compare(engine));
      } else if (exact) {
        checkGreedy(engine);
      }
    }
    return new VerificationReport(options.dtype(), checks, notChecked(exact), kernels);
  }

  private interface ChunkLength {
    int of(int promptLength);
  }

  private int chunkOf(int promptLength) {
    return Math.max(2, promptLength / 4 - 1);
  }

  private Decisions decisions(ModelSpec spec) {
    return new Decisions(expected, spec.getLayersCount(), tolerance);
  }

  private void checkWhole(
      StepDriver driver, ModelSpec spec, boolean exact, @Nullable Decisions decisions) {
    ErrorMeter logits = new ErrorMeter();
    ErrorMeter finalNorm = new ErrorMeter();
    HiddenStates hidden = new HiddenStates();
    OtherHeads heads = new OtherHeads(spec);
    for (int i = 0; i < prompts.size(); i++) {
      List<String> names = new ArrayList<>(List.of(LOGITS));
      if (exact) {
        names.addAll(hidden.names(i, spec.getLayersCount()));
        names.addAll(heads.names(i));
      }
      if (exact && expected.has(FINAL_NORM + "_" + i)) {
        names.add(FINAL_NORM);
      }
      if (decisions != null && i == 0) {
        names.addAll(decisions.names());
      }
      driver.begin();
      driver.add(i, prompts.get(i), 0, prompts.get(i).length);
      Map<String, TracedTensor> traced = driver.trace(names);
      driver.reset(i);
      logits.compare(
          "prompt " + i, traced.get(LOGITS).values(), expected.floats("logits64_" + i));
      if (decisions != null && i == 0) {
        decisions.add(traced, prompts.get(0).length);
      }
      if (exact) {
        hidden.compare(i, traced);
        heads.compare(i, traced);
      }
      if (names.contains(FINAL_NORM)) {
        finalNorm.compare(
            "prompt " + i,
            traced.get(FINAL_NORM).values(),
            expected.floats(FINAL_NORM + "_" + i));
      }
    }
    report("logits, whole prompt", logits);
    hidden.report();
    report("final norm", finalNorm);
    heads.report();
    reportDecisions(decisions, "whole prompt");
  }

  /** In narrow arithmetic: the first prompt alone, with the expected decisions taken over. */
  private void checkReplayed(StepDriver driver, ModelSpec spec) {
    if (!DecisionReplay.hasExperts(expected, spec, 0)
        || !DecisionReplay.hasMasks(expected, spec, 0)) {
      return;
    }
    List<TraceReplay> replays =
        DecisionReplay.of(
            expected, spec, List.of(new DecisionReplay.Span(0, 0, prompts.get(0).length)));
    ErrorMeter logits = new ErrorMeter();
    driver.begin();
    driver.add(0, prompts.get(0), 0, prompts.get(0).length);
    Map<String, TracedTensor> traced = driver.trace(List.of(LOGITS), replays);
    driver.reset(0);
    logits.compare("prompt 0", traced.get(LOGITS).values(), expected.floats("logits64_0"));
    report("logits, decisions replayed", logits);
  }

  private void reportDecisions(@Nullable Decisions decisions, String mode) {
    if (decisions != null) {
      checks.addAll(decisions.compare(mode));
    }
  }

  private void checkChunks(
      StepDriver driver, String mode, ChunkLength chunk, @Nullable Decisions decisions) {
    ErrorMeter meter = new ErrorMeter();
    for (int i = 0; i < prompts.size(); i++) {
      int[] prompt = prompts.get(i);
      List<String> names = names(decisions, i == 0);
      float[] want = expected.floats("logits64_" + i);
      float[] got = {};
      int step = chunk.of(prompt.length);
      int at = 0;
      for (int begin = 0; begin < prompt.length; begin += step) {
        int end = Math.min(prompt.length, begin + step);
        driver.begin();
        driver.add(i, prompt, begin, end);
        Map<String, TracedTensor> traced = driver.trace(names);
        TracedTensor logits = traced.get(LOGITS);
        if (begin == 0) {
          got = new float[prompt.length * logits.columns()];
        }
        System.arraycopy(logits.values(), 0, got, at, logits.values().length);
        at += logits.values().length;
        if (decisions != null && i == 0) {
          decisions.add(traced, end - begin);
        }
      }
      driver.reset(i);
      meter.compare("prompt " + i, got, want);
    }
    report("logits, " + mode, meter);
    reportDecisions(decisions, mode);
  }

  private static List<String> names(@Nullable Decisions decisions, boolean firstPrompt) {
    List<String> names = new ArrayList<>(List.of(LOGITS));
    if (decisions != null && firstPrompt) {
      names.addAll(decisions.names());
    }
    return names;
  }

  /** Runs as many prompts in one step as it takes, and the next ones in the next. */
  private void checkRagged(
      StepDriver driver, int maxStepTokens, @Nullable Decisions decisions) {
    ErrorMeter meter = new ErrorMeter();
    int first = 0;
    while (first < prompts.size()) {
      int end = first;
      int tokens = 0;
      while (end < prompts.size() && tokens + prompts.get(end).length <= maxStepTokens) {
        tokens += prompts.get(end++).length;
      }
      checkTogether(driver, first, end, meter, decisions);
      first = end;
    }
    report("logits, ragged batch", meter);
    reportDecisions(decisions, "ragged batch");
  }

  private void checkTogether(
      StepDriver driver,
      int firstPrompt,
      int endPrompt,
      ErrorMeter meter,
      @Nullable Decisions decisions) {
    driver.begin();
    for (int i = firstPrompt; i < endPrompt; i++) {
      driver.add(i, prompts.get(i), 0, prompts.get(i).length);
    }
    Map<String, TracedTensor> traced = driver.trace(names(decisions, firstPrompt == 0));
    TracedTensor logits = traced.get(LOGITS);
    int at = 0;
    for (int i = firstPrompt; i < endPrompt; i++) {
      int end = at + prompts.get(i).length * logits.columns();
      meter.compare(
          "prompt " + i,
          Arrays.copyOfRange(logits.values(), at, end),
          expected.floats("logits64_" + i));
      at = end;
      driver.reset(i);
    }
    if (decisions != null && firstPrompt == 0) {
      decisions.add(traced, prompts.get(0).length);
    }
  }

  private void checkGreedy(Engine engine) {
    List<int[]> want = expected.greedy();
    if (want.isEmpty()) {
      return;
    }
    List<List<Integer>> alone = new ArrayList<>();
    List<Generation> open = new ArrayList<>();
    for (int i = 0; i < want.size(); i++) {
      expected.compared("greedy_" + i);
      alone.add(engine.generate(TracedGreedy.request(prompts.get(i), want.get(i).length)).tokens());
    }
    for (int i = 0; i < want.size(); i++) {
      open.add(engine.submit(TracedGreedy.request(prompts.get(i), want.get(i).length)));
    }
    List<List<Integer>> batched = open.stream().map(g -> g.result().join().tokens()).toList();
    report("greedy tokens, alone", want, alone);
    report("greedy tokens, batched", want, batched);
  }

  private void report(String name, ErrorMeter meter) {
    if (meter.count() > 0) {
      checks.add(meter.check(name, tolerance, ""));
    }
  }

  private void report(String name, List<int[]> want, List<List<Integer>> got) {
    int different = 0;
    int total = 0;
    String first = "";
    for (int i = 0; i < want.size(); i++) {
      for (int k = 0; k < want.get(i).length; k++) {
        total++;
        int token = k < got.get(i).size() ? got.get(i).get(k) : -1;
        if (token != want.get(i)[k]) {
          different++;
          if (first.isEmpty()) {
            first = ", first difference: prompt " + i + " token " + k + ": " + token
                + " (expected: " + want.get(i)[k] + ")";
          }
        }
      }
    }
    checks.add(
        new Check(name, different == 0, (double) different / total, 0,
            total + " tokens compared" + first));
  }

  /** Tensors of the file that nothing above asked for. */
  private List<String> notChecked(boolean exact) {
    return expected.rest().stream()
        .map(
            name ->
                name
                    + (exact
                        ? ": no check of this kind is built"
                        : name.startsWith("logits64_")
                            ? ": choices of experts and keys flip in this arithmetic, and there are"
                                + " none to replay"
                            : ": compared in float32 only"))
        .toList();
  }

  /** Outputs of the layers: the first one that is off says where to look. */
  private final class HiddenStates {
    private final ErrorMeter meter = new ErrorMeter();
    private int firstOff = Integer.MAX_VALUE;
    private double errorThere;

    List<String> names(int prompt, int numLayers) {
      List<String> names = new ArrayList<>();
      for (int layer = 0; layer < numLayers; layer++) {
        if (expected.has(expectedName(prompt, layer))) {
          names.add(HIDDEN + layer);
        }
      }
      return names;
    }

    private String expectedName(int prompt, int layer) {
      return HIDDEN + prompt + "_" + layer;
    }

    void compare(int prompt, Map<String, TracedTensor> traced) {
      for (int layer = 0; traced.containsKey(HIDDEN + layer); layer++) {
        String name = expectedName(prompt, layer);
        double error =
            meter.compare(name, traced.get(HIDDEN + layer).values(), expected.floats(name));
        if (!(error < tolerance) && layer < firstOff) {
          firstOff = layer;
          errorThere = error;
        }
      }
    }

    void report() {
      if (meter.count() == 0) {
        return;
      }
      String more =
          firstOff == Integer.MAX_VALUE
              ? ""
              : String.format(
                  Locale.ROOT, "; first layer that is off: %d (error %.2e)", firstOff, errorThere);
      checks.add(meter.check("hidden states", tolerance, more));
    }
  }

  /** What heads beside generation give at each prompt's last position. */
  private final class OtherHeads {
    private record Head(String label, String traceName, String prefix, ErrorMeter meter) {}

    private final List<Head> heads = new ArrayList<>();

    OtherHeads(ModelSpec spec) {
      for (int h = 0; h < spec.getHeadsCount(); h++) {
        HeadKind kind = spec.getHeads(h).getKind();
        if (kind == HeadKind.CLASSIFICATION) {
          heads.add(
              new Head(
                  "classification", "head_logits_" + h, "classification64_", new ErrorMeter()));
        } else if (kind == HeadKind.REASONING) {
          heads.add(
              new Head("reasoning", "head_logits_" + h, "reasoning64_last_", new ErrorMeter()));
        }
      }
    }

    List<String> names(int prompt) {
      return heads.stream()
          .filter(head -> expected.has(head.prefix() + prompt))
          .map(Head::traceName)
          .toList();
    }

    void compare(int prompt, Map<String, TracedTensor> traced) {
      for (Head head : heads) {
        TracedTensor tensor = traced.get(head.traceName());
        if (tensor != null) {
          float[] last =
              Arrays.copyOfRange(
                  tensor.values(),
                  (tensor.rows() - 1) * tensor.columns(),
                  tensor.rows() * tensor.columns());
          head.meter()
              .compare("prompt " + prompt, last, expected.floats(head.prefix() + prompt));
        }
      }
    }

    void report() {
      for (Head head : heads) {
        Verifier.this.report(head.label() + " head", head.meter());
      }
    }
  }
}

package ai.sluice.core;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.ComputeDtype;
import ai.sluice.api.EngineOptions;
import ai.sluice.api.GenerationRequest;
import ai.sluice.api.Sampling;
import ai.sluice.checkpoint.Checkpoint;
import ai.sluice.checkpoint.SafetensorsFile;
import ai.sluice.core.VerificationReport.Check;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * Compares a model with the outputs it must produce, which lie in {@code expected.safetensors}
 * beside its weights (format: tests/golden/fixtures/README.md): logits of each prompt whole, in
 * chunks, token by token and in a ragged batch; hidden states; greedy tokens, alone and batched.
 */
public final class Verifier {
  /** The file that holds the expected outputs. */
  public static final String EXPECTED = "expected.safetensors";

  /** Largest relative L2 error in float32. */
  public static final double FLOAT32_TOLERANCE = 1e-4;

  /** Largest relative L2 error of logits in bfloat16. */
  public static final double BFLOAT16_TOLERANCE = 2e-2;

  private static final String LOGITS = "logits";
  private static final String FINAL_NORM = "final_norm";

  private final SafetensorsFile expected;
  private final Checkpoint checkpoint;
  private final List<int[]> prompts = new ArrayList<>();
  private final List<int[]> greedy = new ArrayList<>();
  private final List<Check> checks = new ArrayList<>();
  private final List<String> checkedNames = new ArrayList<>();
  private double tolerance;

  private Verifier(SafetensorsFile expected, Checkpoint checkpoint) {
    this.expected = expected;
    this.checkpoint = checkpoint;
    while (has("input_ids_" + prompts.size())) {
      checkedNames.add("input_ids_" + prompts.size());
      prompts.add(ids("input_ids_" + prompts.size()));
    }
    if (prompts.isEmpty()) {
      throw new CheckpointFormatException(
          expected.path(), "input_ids_0", "missing (expected: the first prompt)");
    }
    for (int i = 0; i < prompts.size() && has("greedy_" + i); i++) {
      greedy.add(ids("greedy_" + i));
    }
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
    return new Verifier(SafetensorsFile.open(file), checkpoint).run(options);
  }

  private VerificationReport run(EngineOptions asked) {
    int longest = prompts.stream().mapToInt(p -> p.length).max().orElseThrow();
    long together = prompts.stream().mapToLong(p -> p.length).sum();
    int mostNew = greedy.stream().mapToInt(g -> g.length).max().orElse(0);
    // Each prompt runs whole in one step; together they may take several.
    long stepTokens = Math.max(longest, Math.min(together, asked.maxStepTokens()));
    EngineOptions options =
        asked.toBuilder()
            .dtype(asked.dtype() == ComputeDtype.AUTO ? ComputeDtype.FLOAT32 : asked.dtype())
            .maxContextLength(
                (int) Math.min(checkpoint.maxPositions(), (long) longest + mostNew + 1))
            .maxSequences(prompts.size())
            .maxStepTokens(
                (int) Math.max(stepTokens, Math.max(prompts.size(), asked.blockSize())))
            .build();
    boolean exact = options.dtype() == ComputeDtype.FLOAT32;
    tolerance = exact ? FLOAT32_TOLERANCE : BFLOAT16_TOLERANCE;
    long lastStepId;
    LoadedModel model = LoadedModel.load(checkpoint, options, OptionResolver.systemInfo());
    try {
      StepDriver driver = new StepDriver(model);
      checkWhole(driver, model.options().spec().getLayersCount(), exact);
      checkChunks(driver, "logits, chunked prefill", this::chunkOf);
      checkChunks(driver, "logits, one token a step", length -> 1);
      checkRagged(driver, options.maxStepTokens());
      lastStepId = driver.lastStepId();
    } catch (Throwable e) {
      model.close();
      throw e;
    }
    try (Engine engine = new Engine(model, options, null, lastStepId)) {
      if (exact) {
        checkGreedy(engine);
      }
    }
    return new VerificationReport(options.dtype(), checks, notChecked(exact));
  }

  private interface ChunkLength {
    int of(int promptLength);
  }

  private int chunkOf(int promptLength) {
    return Math.max(2, promptLength / 4 - 1);
  }

  private void checkWhole(StepDriver driver, int layers, boolean exact) {
    ErrorMeter logits = new ErrorMeter();
    ErrorMeter hidden = new ErrorMeter();
    ErrorMeter finalNorm = new ErrorMeter();
    for (int i = 0; i < prompts.size(); i++) {
      List<String> names = new ArrayList<>(List.of(LOGITS));
      for (int layer = 0; exact && layer < layers; layer++) {
        if (has("hidden_" + i + "_" + layer)) {
          names.add("hidden_" + layer);
        }
      }
      if (exact && has(FINAL_NORM + "_" + i)) {
        names.add(FINAL_NORM);
      }
      driver.begin();
      driver.add(i, prompts.get(i), 0, prompts.get(i).length);
      Map<String, TracedTensor> traced = driver.trace(names);
      driver.reset(i);
      logits.compare("prompt " + i, traced.get(LOGITS).values(), floats("logits64_" + i));
      for (String name : names) {
        if (name.startsWith("hidden_")) {
          String key = "hidden_" + i + "_" + name.substring("hidden_".length());
          hidden.compare(key, traced.get(name).values(), floats(key));
        } else if (name.equals(FINAL_NORM)) {
          finalNorm.compare("prompt " + i, traced.get(name).values(), floats(FINAL_NORM + "_" + i));
        }
      }
    }
    report("logits, whole prompt", logits);
    if (hidden.count > 0) {
      report("hidden states", hidden);
    }
    if (finalNorm.count > 0) {
      report("final norm", finalNorm);
    }
  }

  private void checkChunks(StepDriver driver, String name, ChunkLength chunk) {
    ErrorMeter meter = new ErrorMeter();
    for (int i = 0; i < prompts.size(); i++) {
      int[] prompt = prompts.get(i);
      float[] want = floats("logits64_" + i);
      float[] got = {};
      int step = chunk.of(prompt.length);
      int at = 0;
      for (int begin = 0; begin < prompt.length; begin += step) {
        driver.begin();
        driver.add(i, prompt, begin, Math.min(prompt.length, begin + step));
        TracedTensor traced = driver.trace(List.of(LOGITS)).get(LOGITS);
        float[] part = traced.values();
        if (begin == 0) {
          got = new float[prompt.length * traced.columns()];
        }
        System.arraycopy(part, 0, got, at, part.length);
        at += part.length;
      }
      driver.reset(i);
      meter.compare("prompt " + i, got, want);
    }
    report(name, meter);
  }

  /** Runs as many prompts in one step as it takes, and the next ones in the next. */
  private void checkRagged(StepDriver driver, int maxStepTokens) {
    ErrorMeter meter = new ErrorMeter();
    int first = 0;
    while (first < prompts.size()) {
      int end = first;
      int tokens = 0;
      while (end < prompts.size() && tokens + prompts.get(end).length <= maxStepTokens) {
        tokens += prompts.get(end++).length;
      }
      checkTogether(driver, first, end, meter);
      first = end;
    }
    report("logits, ragged batch", meter);
  }

  private void checkTogether(StepDriver driver, int firstPrompt, int endPrompt, ErrorMeter meter) {
    driver.begin();
    for (int i = firstPrompt; i < endPrompt; i++) {
      driver.add(i, prompts.get(i), 0, prompts.get(i).length);
    }
    TracedTensor traced = driver.trace(List.of(LOGITS)).get(LOGITS);
    int at = 0;
    for (int i = firstPrompt; i < endPrompt; i++) {
      int end = at + prompts.get(i).length * traced.columns();
      meter.compare(
          "prompt " + i, Arrays.copyOfRange(traced.values(), at, end), floats("logits64_" + i));
      at = end;
      driver.reset(i);
    }
  }

  private void checkGreedy(Engine engine) {
    List<int[]> want = greedy;
    if (want.isEmpty()) {
      return;
    }
    List<List<Integer>> alone = new ArrayList<>();
    List<Generation> open = new ArrayList<>();
    for (int i = 0; i < want.size(); i++) {
      checkedNames.add("greedy_" + i);
      alone.add(engine.generate(greedy(i, want.get(i).length)).tokens());
    }
    for (int i = 0; i < want.size(); i++) {
      open.add(engine.submit(greedy(i, want.get(i).length)));
    }
    List<List<Integer>> batched = open.stream().map(g -> g.result().join().tokens()).toList();
    report("greedy tokens, alone", want, alone);
    report("greedy tokens, batched", want, batched);
  }

  private GenerationRequest greedy(int i, int newTokens) {
    return GenerationRequest.builder()
        .promptTokens(prompts.get(i))
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

  private void report(String name, ErrorMeter meter) {
    checks.add(
        new Check(name, meter.worst < tolerance, meter.worst, tolerance,
            meter.count + " compared, worst: " + meter.worstName));
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
    List<String> rest = new ArrayList<>();
    for (String name : expected.tensors().names()) {
      if (checkedNames.contains(name)
          || name.startsWith("greedy_gap_")
          || name.matches("logits(_bfloat16)?_\\d+")) {
        continue;
      }
      rest.add(name + (exact ? ": no check of this kind is built" : ": compared in float32 only"));
    }
    return rest;
  }

  private boolean has(String name) {
    return expected.tensors().find(name).isPresent();
  }

  private float[] floats(String name) {
    checkedNames.add(name);
    return expected.readFloat32(name);
  }

  /** Token ids that the model can take, in a number that its context can hold. */
  private int[] ids(String name) {
    long[] values = expected.readInt64(name);
    if (values.length == 0 || values.length > checkpoint.maxPositions()) {
      throw new CheckpointFormatException(
          expected.path(),
          name,
          values.length + " tokens (expected: 1 to " + checkpoint.maxPositions()
              + ", the model's context)");
    }
    int vocabSize = checkpoint.modelSpec().getVocabSize();
    int[] ids = new int[values.length];
    for (int i = 0; i < ids.length; i++) {
      if (values[i] < 0 || values[i] >= vocabSize) {
        throw new CheckpointFormatException(
            expected.path(),
            name,
            "token " + i + " is " + values[i] + " (expected: 0 to " + (vocabSize - 1)
                + ", the model's vocabulary)");
      }
      ids[i] = (int) values[i];
    }
    return ids;
  }

  /** The largest relative L2 error of several comparisons. */
  private static final class ErrorMeter {
    int count;
    double worst;
    String worstName = "none";

    void compare(String name, float[] got, float[] want) {
      double difference = 0;
      double norm = 0;
      for (int i = 0; i < want.length; i++) {
        double d = i < got.length ? (double) got[i] - want[i] : Double.NaN;
        difference += d * d;
        norm += (double) want[i] * want[i];
      }
      double error = Math.sqrt(difference / norm);
      if (got.length != want.length) {
        error = Double.NaN;
      }
      // NaN is the worst of all and never below a tolerance; no later value replaces it.
      if (count == 0 || (!(error <= worst) && !Double.isNaN(worst))) {
        worst = error;
        worstName = name;
      }
      count++;
    }
  }
}

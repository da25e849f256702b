package ai.sluice.cli;

import ai.sluice.api.Sampling;
import ai.sluice.checkpoint.Checkpoint;
import ai.sluice.checkpoint.CheckpointFormat;
import ai.sluice.checkpoint.CheckpointSummary;
import ai.sluice.checkpoint.DType;
import ai.sluice.checkpoint.TokenizerSource;
import ai.sluice.proto.GqaSpec;
import ai.sluice.proto.HeadSpec;
import ai.sluice.proto.LayerSpec;
import ai.sluice.proto.ModelSpec;
import ai.sluice.proto.RopeSpec;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

/** Says what a checkpoint is and what it needs, without reading a weight. */
@Command(
    name = "inspect",
    description = {
      "Say what a checkpoint is and how much memory it needs.",
      "Reads and checks headers and settings; no weight is loaded."
    },
    footer = {
      "",
      "Examples:",
      "  sluice inspect SmolLM2-135M-Instruct",
      "  sluice inspect ~/models/Llama-3.2-1B"
    })
final class InspectCommand implements Callable<Integer> {
  private static final int F32_BYTES = 4;
  private static final int BF16_BYTES = 2;

  private final Console console;

  @Parameters(
      index = "0",
      arity = "0..1",
      paramLabel = "MODEL",
      description = "A folder, a .gguf file or a name; default: the default model.")
  @Nullable String model;

  InspectCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    ModelStore store = new ModelStore(console);
    Checkpoint checkpoint =
        Checkpoint.open(model == null ? store.defaultModel() : store.resolve(model));
    files(checkpoint);
    shape(checkpoint);
    text(checkpoint);
    memory(checkpoint);
    rows("note", checkpoint.notes());
    return Failures.OK;
  }

  private void files(Checkpoint checkpoint) {
    checkpoint.name().ifPresent(name -> row("name", name));
    row("path", checkpoint.path().toString());
    CheckpointSummary summary = checkpoint.summary();
    boolean gguf = checkpoint.format() == CheckpointFormat.GGUF;
    row(
        "format",
        (gguf ? "GGUF" : "safetensors") + ", " + summary.numFiles()
            + (summary.numFiles() == 1 ? " file" : " files") + ", " + summary.numTensors()
            + " tensors, " + Sizes.text(summary.totalBytes()));
    row(
        "stored",
        summary.bytesByDType().entrySet().stream()
            .sorted(Map.Entry.<DType, Long>comparingByValue().reversed())
            .map(entry -> entry.getKey().label() + " " + Sizes.text(entry.getValue()))
            .collect(Collectors.joining(", ")));
    row("architecture", checkpoint.architecture());
    row(
        "parameters",
        Sizes.count(summary.numParameters()) + ", of them "
            + Sizes.count(summary.numEmbeddingParameters()) + " in the embedding");
  }

  private void shape(Checkpoint checkpoint) {
    ModelSpec spec = checkpoint.modelSpec();
    row(
        "layers",
        spec.getLayersCount() + ", hidden_size " + spec.getHiddenSize() + ", vocabulary "
            + Sizes.count(spec.getVocabSize()) + ", "
            + (spec.getHeadsList().stream().anyMatch(HeadSpec::getTied)
                ? "head tied to the embedding"
                : "head of its own"));
    rows("attention", LayerText.attention(spec));
    rows("feed-forward", LayerText.feedForward(spec));
    rows("norm", LayerText.norms(spec));
    rows("compression", LayerText.compression(spec));
    rows("heads", LayerText.heads(spec));
    for (RopeSpec rope : spec.getRopesList()) {
      row("rope", RopeText.of(rope, checkpoint.dynamicRope()));
    }
    row("context", Sizes.count(checkpoint.maxPositions()) + " tokens");
  }

  private void text(Checkpoint checkpoint) {
    row(
        "tokenizer",
        checkpoint
            .tokenizer()
            .map(InspectCommand::tokenizer)
            .orElse("none: requests must be token ids"));
    row(
        "template",
        checkpoint
            .chatTemplate()
            .map(text -> "chat template, " + Sizes.count(text.length()) + " characters")
            .orElse("none: prompts are continued as they are"));
    row(
        "end tokens",
        checkpoint.eosTokenIds().isEmpty()
            ? "none named"
            : checkpoint.eosTokenIds().stream()
                .map(String::valueOf)
                .collect(Collectors.joining(", ")));
    row(
        "sampling",
        checkpoint
            .samplingSource()
            .filter(source -> !checkpoint.sampling().equals(Sampling.unset()))
            .map(source -> checkpoint.sampling() + " from " + source)
            .orElse("nothing set by the checkpoint"));
  }

  private static String tokenizer(TokenizerSource source) {
    if (source instanceof TokenizerSource.Gguf gguf) {
      return gguf.data().model() + gguf.data().pre().map(pre -> "/" + pre).orElse("")
          + ", inside the GGUF file, " + Sizes.count(gguf.data().tokens().size()) + " tokens";
    }
    return ((TokenizerSource.Files) source).tokenizerJson().getFileName().toString();
  }

  private void memory(Checkpoint checkpoint) {
    long parameters = checkpoint.summary().numParameters();
    row(
        "weights",
        Sizes.text(parameters * BF16_BYTES) + " in bfloat16, " + Sizes.text(parameters * F32_BYTES)
            + " in float32");
    ModelSpec spec = checkpoint.modelSpec();
    long values = kvValues(spec, 1);
    row(
        "kv cache",
        Sizes.count(values) + " numbers per token: " + Sizes.count(values * BF16_BYTES)
            + " B in bfloat16, " + Sizes.count(values * F32_BYTES) + " B in float32");
    long whole = kvValues(spec, checkpoint.maxPositions());
    row(
        "",
        Sizes.text(whole * BF16_BYTES) + " in bfloat16, " + Sizes.text(whole * F32_BYTES)
            + " in float32 for one sequence of the whole context");
  }

  /** Values that a sequence leaves in the cache; a layer with a window keeps no more than that. */
  private static long kvValues(ModelSpec spec, long tokens) {
    long values = 0;
    for (LayerSpec layer : spec.getLayersList()) {
      long retention = spec.getKvGroups(layer.getKvGroup()).getRetention();
      values += (retention == 0 ? tokens : Math.min(tokens, retention)) * kvValues(layer);
    }
    return values;
  }

  /** Values that one token leaves in one layer: keys and values, or their common latent. */
  private static long kvValues(LayerSpec layer) {
    return switch (layer.getAttentionCase()) {
      case MLA -> layer.getMla().getKvLoraRank() + layer.getMla().getQkRopeHeadDim();
      case ADAPTIVE ->
          2L * layer.getAdaptive().getNumQHeads() * layer.getAdaptive().getHeadDim();
      default -> {
        GqaSpec gqa = layer.getGqa();
        long valueDim = gqa.hasVHeadDim() ? gqa.getVHeadDim() : gqa.getHeadDim();
        yield gqa.getNumKvHeads() * (gqa.getHeadDim() + valueDim);
      }
    };
  }

  private void rows(String label, List<String> lines) {
    for (int i = 0; i < lines.size(); i++) {
      row(i == 0 ? label : "", lines.get(i));
    }
  }

  private void row(String label, String text) {
    console.println(String.format("%-12s  %s", label, text));
  }
}

package ai.sluice.cli;

import ai.sluice.proto.Activation;
import ai.sluice.proto.ActivationSpec;
import ai.sluice.proto.AdaptiveAttentionSpec;
import ai.sluice.proto.DenseSpec;
import ai.sluice.proto.GqaSpec;
import ai.sluice.proto.KvGroupSpec;
import ai.sluice.proto.LayerSpec;
import ai.sluice.proto.MlaSpec;
import ai.sluice.proto.ModelSpec;
import ai.sluice.proto.MoeSpec;
import ai.sluice.proto.NormKind;
import ai.sluice.proto.NormSpec;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;

/** Says in words what a model's layers are, with equal layers told once. */
final class LayerText {
  private static final int MAX_NUMBERS = 4;

  private LayerText() {}

  /** One line for each kind of layer by its attention. */
  static List<String> attention(ModelSpec spec) {
    return kinds(spec, layer -> attention(layer, spec.getKvGroups(layer.getKvGroup())));
  }

  /** One line for each kind of layer by its feed-forward. */
  static List<String> feedForward(ModelSpec spec) {
    return kinds(spec, LayerText::feedForward);
  }

  /** One line for each kind of layer by its norms. */
  static List<String> norms(ModelSpec spec) {
    return kinds(
        spec,
        layer ->
            norm(layer.getAttentionNorm())
                + (layer.hasPostAttentionNorm() ? ", also after attention" : ""));
  }

  private static String norm(NormSpec norm) {
    // Files keep it as a float; its shortest form is what their makers wrote.
    return (norm.getKind() == NormKind.RMS_NORM ? "RMSNorm" : "LayerNorm") + ", eps "
        + (float) norm.getEps();
  }

  /** One line for each kind of layer, with the numbers of its layers where there are several. */
  private static List<String> kinds(ModelSpec spec, Function<LayerSpec, String> describe) {
    Map<String, List<Integer>> layersOf = new LinkedHashMap<>();
    for (int i = 0; i < spec.getLayersCount(); i++) {
      layersOf.computeIfAbsent(describe.apply(spec.getLayers(i)), text -> new ArrayList<>()).add(i);
    }
    if (layersOf.size() == 1) {
      return List.copyOf(layersOf.keySet());
    }
    List<String> lines = new ArrayList<>();
    layersOf.forEach((text, layers) -> lines.add(numbers(layers) + ": " + text));
    return lines;
  }

  /** {@code layer 3}, {@code layers 1 to 26}, {@code layers 0, 2, 4 and 9 more}. */
  private static String numbers(List<Integer> layers) {
    int first = layers.get(0);
    int last = layers.get(layers.size() - 1);
    if (layers.size() == 1) {
      return "layer " + first;
    }
    if (last - first == layers.size() - 1) {
      return "layers " + first + " to " + last;
    }
    int shown = Math.min(layers.size(), MAX_NUMBERS);
    String text =
        "layers "
            + layers.subList(0, shown).stream()
                .map(String::valueOf)
                .collect(Collectors.joining(", "));
    return shown == layers.size() ? text : text + " and " + (layers.size() - shown) + " more";
  }

  private static String attention(LayerSpec layer, KvGroupSpec group) {
    return switch (layer.getAttentionCase()) {
      case MLA -> latent(layer.getMla());
      case ADAPTIVE -> adaptive(layer.getAdaptive());
      default -> grouped(layer, group);
    };
  }

  private static String latent(MlaSpec mla) {
    return "latent: " + mla.getNumQHeads() + " heads of " + mla.getQkNopeHeadDim() + " + "
        + mla.getQkRopeHeadDim() + " rotary columns, values of " + mla.getVHeadDim() + "; "
        + (mla.getQLoraRank() == 0
            ? "queries not compressed"
            : "queries through " + mla.getQLoraRank())
        + ", keys and values through " + mla.getKvLoraRank() + (mla.getBias() ? ", bias" : "");
  }

  private static String adaptive(AdaptiveAttentionSpec spec) {
    String kind =
        switch (spec.getKind()) {
          case ADAPTIVE_FULL -> "full";
          case ADAPTIVE_SLIDING_WINDOW -> "sliding window " + spec.getWindow();
          case ADAPTIVE_TOPK -> "best " + spec.getTopK() + " keys";
          case ADAPTIVE_DENSITY ->
              "window " + spec.getWindow() + " and dense keys (from " + spec.getDensityThreshold()
                  + " on)";
          case ADAPTIVE_BLOCK_SPARSE ->
              "blocks of " + spec.getSparseBlockSize() + ": " + spec.getNumGlobalBlocks()
                  + " global, " + spec.getNumLocalBlocks() + " local, "
                  + spec.getNumRandomBlocks() + " random";
          case ADAPTIVE_BLOCK_TOPK ->
              "best " + spec.getBlockKeepPercent() + " % of blocks of "
                  + spec.getSparseBlockSize();
        };
    return "adaptive, " + kind + ": " + spec.getNumQHeads() + " heads of " + spec.getHeadDim()
        + ", " + spec.getRelativePositions() + " relative positions"
        + (spec.getSparseGate() ? ", gate from " + spec.getSparseGateThreshold() + " on" : "")
        + (spec.getQkvBias() ? ", q/k/v bias" : "");
  }

  private static String grouped(LayerSpec layer, KvGroupSpec group) {
    GqaSpec gqa = layer.getGqa();
    int queries = gqa.getNumQHeads();
    int keys = gqa.getNumKvHeads();
    StringBuilder text = new StringBuilder();
    text.append(queries == keys ? "multi-head" : keys == 1 ? "multi-query" : "grouped-query");
    text.append(": ").append(queries).append(" query heads, ").append(keys);
    text.append(" key/value heads, head_dim ").append(gqa.getHeadDim());
    if (group.getWindow() > 0) {
      text.append(", sliding window ").append(group.getWindow());
    }
    if (group.getChunk() > 0) {
      text.append(", chunks of ").append(group.getChunk());
    }
    if (gqa.getQBias()) {
      text.append(", q/k/v bias");
    }
    if (gqa.hasQNorm()) {
      text.append(", q/k norm");
    }
    if (gqa.getSinks()) {
      text.append(", sinks");
    }
    return text.toString();
  }

  private static String feedForward(LayerSpec layer) {
    return layer.hasMoe() ? moe(layer.getMoe()) : dense(layer.getDense());
  }

  private static String dense(DenseSpec dense) {
    return "dense: " + dense.getIntermediateSize() + ", "
        + activation(dense.getActivation()) + (dense.getGated() ? ", gated" : "");
  }

  private static String moe(MoeSpec moe) {
    StringBuilder text = new StringBuilder();
    text.append("mixture: ").append(moe.getNumExperts()).append(" experts of ");
    text.append(moe.getExpertIntermediateSize()).append(", ").append(moe.getNumExpertsPerToken());
    text.append(" per token");
    if (moe.getNumGroups() > 1) {
      text.append(" from ").append(moe.getNumGroupsPerToken()).append(" of ");
      text.append(moe.getNumGroups()).append(" groups");
    }
    if (moe.hasShared()) {
      text.append(", shared ").append(moe.getShared().getIntermediateSize());
    }
    text.append(", ").append(activation(moe.getActivation()));
    text.append(moe.getGated() ? ", gated" : "").append("; router: ").append(router(moe));
    if (moe.getExpertCapacity() > 0) {
      text.append("; at most ").append(moe.getExpertCapacity()).append(" tokens per expert in ");
      text.append(
          moe.getCapacityWindow() == 0
              ? "a sequence"
              : moe.getCapacityWindow() + " positions");
    }
    return text.toString();
  }

  private static String router(MoeSpec moe) {
    String kind =
        switch (moe.getRouter()) {
          case ROUTER_SOFTMAX -> "softmax";
          case ROUTER_SIGMOID -> "sigmoid";
          case ROUTER_TOPK_SOFTMAX -> "softmax of the chosen";
          case ROUTER_NOISY_NETWORK ->
              "network of " + moe.getRouterHiddenSize() + " with stored noise";
        };
    return kind + (moe.getCorrectionBias() ? " with correction bias" : "")
        + (moe.getNormalizeTopK() ? ", normalised" : "")
        + (moe.getRoutedScalingFactor() == 1
            ? ""
            : ", times " + (float) moe.getRoutedScalingFactor());
  }

  private static String activation(ActivationSpec activation) {
    return activation.getKind() == Activation.CLAMPED_SWIGLU
        ? "swiglu clamped at " + (float) activation.getLimit()
        : activation.getKind().name().toLowerCase(Locale.ROOT);
  }

  /** The heads, in the order of their numbers; nothing where there is the usual one alone. */
  static List<String> heads(ModelSpec spec) {
    if (spec.getHeadsCount() == 1) {
      return List.of();
    }
    return spec.getHeadsList().stream()
        .map(
            head ->
                head.getName()
                    + switch (head.getKind()) {
                      case GENERATION -> ": logits of the next token";
                      case CLASSIFICATION ->
                          ": " + head.getNumLabels() + " scores from the last position";
                      case REASONING -> ": logits through the generation matrix";
                      case VALUE -> ": one number per position";
                    })
        .toList();
  }

  /** The bottleneck before the heads, if there is one. */
  static List<String> compression(ModelSpec spec) {
    return spec.hasCompression()
        ? List.of(
            "residual through " + spec.getCompression().getCompressedSize() + " columns, "
                + activation(spec.getCompression().getActivation()) + ", "
                + norm(spec.getCompression().getNorm()))
        : List.of();
  }
}

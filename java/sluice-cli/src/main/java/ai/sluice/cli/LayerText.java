package ai.sluice.cli;

import ai.sluice.proto.DenseSpec;
import ai.sluice.proto.GqaSpec;
import ai.sluice.proto.KvGroupSpec;
import ai.sluice.proto.LayerSpec;
import ai.sluice.proto.ModelSpec;
import ai.sluice.proto.MoeSpec;
import ai.sluice.proto.NormKind;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.Function;

/** Says in words what a model's layers are, with runs of equal layers told once. */
final class LayerText {
  private LayerText() {}

  /** One line for each run of layers whose attention is the same. */
  static List<String> attention(ModelSpec spec) {
    return runs(spec, layer -> attention(layer, spec.getKvGroups(layer.getKvGroup())));
  }

  /** One line for each run of layers whose feed-forward is the same. */
  static List<String> feedForward(ModelSpec spec) {
    return runs(spec, LayerText::feedForward);
  }

  /** One line for each run of layers whose norms are the same. */
  static List<String> norms(ModelSpec spec) {
    return runs(
        spec,
        layer ->
            (layer.getAttentionNorm().getKind() == NormKind.RMS_NORM ? "RMSNorm" : "LayerNorm")
                + ", eps "
                // Files keep it as a float; its shortest form is what their makers wrote.
                + (float) layer.getAttentionNorm().getEps()
                + (layer.hasPostAttentionNorm() ? ", also after attention" : ""));
  }

  private static List<String> runs(ModelSpec spec, Function<LayerSpec, String> describe) {
    List<String> lines = new ArrayList<>();
    int begin = 0;
    for (int i = 1; i <= spec.getLayersCount(); i++) {
      String text = describe.apply(spec.getLayers(begin));
      if (i == spec.getLayersCount() || !describe.apply(spec.getLayers(i)).equals(text)) {
        boolean all = begin == 0 && i == spec.getLayersCount();
        lines.add(all ? text : "layers " + begin + " to " + (i - 1) + ": " + text);
        begin = i;
      }
    }
    return lines;
  }

  private static String attention(LayerSpec layer, KvGroupSpec group) {
    if (!layer.hasGqa()) {
      return layer.hasMla() ? "latent (MLA)" : "adaptive";
    }
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
        + dense.getActivation().getKind().name().toLowerCase(Locale.ROOT)
        + (dense.getGated() ? ", gated" : "");
  }

  private static String moe(MoeSpec moe) {
    return "mixture: " + moe.getNumExperts() + " experts of " + moe.getExpertIntermediateSize()
        + ", " + moe.getNumExpertsPerToken() + " per token"
        + (moe.hasShared() ? ", shared " + moe.getShared().getIntermediateSize() : "");
  }
}

package ai.sluice.checkpoint.arch;

import ai.sluice.checkpoint.arch.GqaDecoder.FeedForward;
import ai.sluice.proto.LayerSpec;
import ai.sluice.proto.MlaSpec;
import ai.sluice.proto.NormSpec;
import ai.sluice.proto.Part;
import ai.sluice.proto.Slot;
import ai.sluice.proto.WeightDestination;
import com.google.common.collect.ImmutableSet;
import com.google.common.collect.Iterables;
import com.google.common.collect.Sets;
import java.util.AbstractList;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * Pre-norm decoder layers with multi-head latent attention, under the tensor names that DeepSeek's
 * checkpoints use.
 */
final class MlaDecoder {
  // The norms of the latents do not take the model's epsilon.
  private static final double LATENT_NORM_EPS = 1e-6;
  // Follow from other settings; their loaders overwrite them.
  private static final ImmutableSet<String> DERIVED = ImmutableSet.of("head_dim", "qk_head_dim");

  private MlaDecoder() {}

  /**
   * A whole decoder. Reads the settings that are common to its families, then judges what is left
   * unread.
   *
   * @param setAside a layer behind the model's own, if the checkpoint may have one
   * @param harmless further keys that do not matter for the family
   */
  static ModelPlan decoder(
      String name,
      ModelConfig config,
      MlaSizes sizes,
      FeedForward feedForward,
      Iterable<ModelPlan.SetAside> setAside,
      Set<String> harmless) {
    boolean interleaved = config.flag("rope_interleave", true);
    Rope rope =
        Rope.read(
            config,
            sizes.qkRopeHeadDim(),
            "qk_rope_head_dim",
            sizes.maxPositions(),
            new Rope.Defaults(10_000, interleaved));
    DecoderPlan plan =
        new DecoderPlan(name, sizes.vocabSize(), sizes.hiddenSize(), rope.maxPositions());
    int ropeIndex = plan.addRope(rope);
    Quantization.read(config, plan);
    setAside.forEach(plan::setAside);
    plan.addEnds(sizes.normEps(), config.flag("tie_word_embeddings", false));
    MlaSpec mla = spec(config, sizes, ropeIndex, rope.softmaxFactor());
    for (int i = 0; i < sizes.numLayers(); i++) {
      LayerSpec.Builder layer = GqaDecoder.layer(plan, i, sizes.normEps());
      bind(plan, i, mla, config.flag(GgufKeys.MLA_SPLIT_KV_B, false));
      layer.setMla(mla).setKvGroup(plan.kvGroup(0));
      feedForward.add(plan, i, layer);
      plan.addLayer(layer);
    }
    plan.note(ConfigPolicy.judge(config, Sets.union(DERIVED, harmless)));
    return plan.build();
  }

  private static MlaSpec spec(ModelConfig config, MlaSizes sizes, int rope, double softmaxFactor) {
    int headDim = sizes.qkNopeHeadDim() + sizes.qkRopeHeadDim();
    NormSpec norm = DecoderPlan.rmsNorm(LATENT_NORM_EPS);
    MlaSpec.Builder mla =
        MlaSpec.newBuilder()
            .setNumQHeads(sizes.numQHeads())
            .setQLoraRank(sizes.qLoraRank())
            .setKvLoraRank(sizes.kvLoraRank())
            .setQkNopeHeadDim(sizes.qkNopeHeadDim())
            .setQkRopeHeadDim(sizes.qkRopeHeadDim())
            .setVHeadDim(sizes.vHeadDim())
            .setRope(rope)
            .setSoftmaxScale(softmaxFactor / Math.sqrt(headDim))
            .setKvANorm(norm)
            .setBias(config.flag("attention_bias", false));
    if (sizes.qLoraRank() > 0) {
      mla.setQANorm(norm);
    }
    return mla.build();
  }

  private static void bind(DecoderPlan plan, int layer, MlaSpec mla, boolean splitKvB) {
    String prefix = "model.layers." + layer + ".self_attn.";
    long hidden = plan.hiddenSize();
    long heads = mla.getNumQHeads();
    long latent = mla.getKvLoraRank();
    long qRows = heads * (mla.getQkNopeHeadDim() + mla.getQkRopeHeadDim());
    if (mla.getQLoraRank() == 0) {
      plan.bindLayer(layer, prefix + "q_proj.weight", Slot.Q_B, qRows, hidden);
    } else {
      long rank = mla.getQLoraRank();
      plan.bindLayer(layer, prefix + "q_a_proj.weight", Slot.Q_A, rank, hidden);
      plan.bindLayer(layer, prefix + "q_a_layernorm.weight", Slot.Q_A_NORM, rank);
      plan.bindLayer(layer, prefix + "q_b_proj.weight", Slot.Q_B, qRows, rank);
    }
    long kvRows = latent + mla.getQkRopeHeadDim();
    plan.bindLayer(layer, prefix + "kv_a_proj_with_mqa.weight", Slot.KV_A, kvRows, hidden);
    plan.bindLayer(layer, prefix + "kv_a_layernorm.weight", Slot.KV_A_NORM, latent);
    if (splitKvB) {
      bindSplitKvB(plan, layer, prefix, mla);
    } else {
      long rows = heads * (mla.getQkNopeHeadDim() + mla.getVHeadDim());
      plan.bindLayer(layer, prefix + "kv_b_proj.weight", Slot.KV_B, rows, latent);
    }
    plan.bindLayer(layer, prefix + "o_proj.weight", Slot.O, hidden, heads * mla.getVHeadDim());
    if (mla.getBias()) {
      if (mla.getQLoraRank() > 0) {
        plan.bindLayer(layer, prefix + "q_a_proj.bias", Slot.Q_A_BIAS, mla.getQLoraRank());
      }
      plan.bindLayer(layer, prefix + "kv_a_proj_with_mqa.bias", Slot.KV_A_BIAS, kvRows);
      plan.bindLayer(layer, prefix + "o_proj.bias", Slot.O_BIAS, hidden);
    }
    plan.ignore(prefix + "rotary_emb.inv_freq");
  }

  /**
   * Newer GGUF files keep the two halves apart: k_b [heads, latent, nope], each head turned, and
   * v_b [heads, v, latent].
   */
  private static void bindSplitKvB(DecoderPlan plan, int layer, String prefix, MlaSpec mla) {
    long heads = mla.getNumQHeads();
    long latent = mla.getKvLoraRank();
    long nope = mla.getQkNopeHeadDim();
    long v = mla.getVHeadDim();
    // Made when they are walked through: a small file may name very many heads.
    Iterable<Binding> halves =
        Iterables.concat(
            new AbstractList<List<Binding>>() {
              @Override
              public List<Binding> get(int head) {
                long row = head * (nope + v);
                return List.of(
                    ofHead(
                        prefix + "k_b_proj.weight",
                        Binding.longs(heads, latent, nope),
                        new Binding.View(
                            head * latent * nope, Binding.longs(latent, nope), List.of(), true),
                        DecoderPlan.destination(layer, Slot.KV_B, Part.WHOLE).setRowBegin(row),
                        nope),
                    ofHead(
                        prefix + "v_b_proj.weight",
                        Binding.longs(heads, v, latent),
                        new Binding.View(
                            head * v * latent, Binding.longs(v, latent), List.of(), false),
                        DecoderPlan.destination(layer, Slot.KV_B, Part.WHOLE)
                            .setRowBegin(row + nope),
                        v));
              }

              @Override
              public int size() {
                return mla.getNumQHeads();
              }
            });
    plan.bindAny(List.of(halves));
  }

  private static Binding ofHead(
      String tensor,
      List<Long> shape,
      Binding.View view,
      WeightDestination.Builder destination,
      long rows) {
    return new Binding(
        tensor, shape, destination.setNumRows(rows).build(), Optional.of(view), Optional.empty());
  }
}

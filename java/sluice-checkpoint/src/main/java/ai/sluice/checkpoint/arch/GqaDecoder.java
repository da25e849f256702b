package ai.sluice.checkpoint.arch;

import ai.sluice.proto.Activation;
import ai.sluice.proto.ActivationSpec;
import ai.sluice.proto.DenseSpec;
import ai.sluice.proto.GqaSpec;
import ai.sluice.proto.LayerSpec;
import ai.sluice.proto.NormScope;
import ai.sluice.proto.NormSpec;
import ai.sluice.proto.Part;
import ai.sluice.proto.Slot;
import java.util.List;
import java.util.Set;

/**
 * The blocks that most families share: pre-norm decoder layers with grouped-query attention and a
 * gated feed-forward, under the tensor names that their checkpoints use.
 */
final class GqaDecoder {
  /** Which biases, norms and sinks a family's attention has. */
  record Attention(boolean qkvBias, boolean oBias, boolean qkNorm, boolean sinks) {
    Attention(boolean qkvBias, boolean oBias, boolean qkNorm) {
      this(qkvBias, oBias, qkNorm, false);
    }
  }

  /** Sets the feed-forward of one layer and binds its tensors. */
  interface FeedForward {
    /** Called once for each layer, in their order. */
    void add(DecoderPlan plan, int layer, LayerSpec.Builder spec);
  }

  private GqaDecoder() {}

  /**
   * A whole decoder of dense layers that differ in their window only. Reads the settings that are
   * common to its families, then judges what is left unread.
   *
   * @param windows the window of each layer, 0 for none
   * @param harmless further keys that do not matter for the family
   */
  static ModelPlan dense(
      String name,
      ModelConfig config,
      Sizes sizes,
      Attention attention,
      boolean mlpBias,
      List<Integer> windows,
      Set<String> harmless) {
    return decoder(
        name,
        config,
        sizes,
        attention,
        Rope.Defaults.USUAL,
        dense(sizes.intermediateSize(), activation(config), mlpBias),
        windows,
        harmless);
  }

  /**
   * A whole decoder whose layers differ in their window and their feed-forward. Reads the settings
   * that are common to its families, then judges what is left unread.
   *
   * @param windows the window of each layer, 0 for none
   * @param harmless further keys that do not matter for the family
   */
  static ModelPlan decoder(
      String name,
      ModelConfig config,
      Sizes sizes,
      Attention attention,
      Rope.Defaults ropeDefaults,
      FeedForward feedForward,
      List<Integer> windows,
      Set<String> harmless) {
    Rope rope = Rope.read(config, sizes.headDim(), "head_dim", sizes.maxPositions(), ropeDefaults);
    DecoderPlan plan =
        new DecoderPlan(name, sizes.vocabSize(), sizes.hiddenSize(), rope.maxPositions());
    int ropeIndex = plan.addRope(rope);
    Quantization.read(config, plan);
    plan.addEnds(sizes.normEps(), config.flag("tie_word_embeddings", false));
    for (int i = 0; i < sizes.numLayers(); i++) {
      LayerSpec.Builder layer = layer(plan, i, sizes.normEps());
      attention(plan, i, layer, sizes, attention, ropeIndex, windows.get(i));
      feedForward.add(plan, i, layer);
      plan.addLayer(layer);
    }
    plan.note(ConfigPolicy.judge(config, harmless));
    return plan.build();
  }

  /** A gated feed-forward of this width in every layer. */
  static FeedForward dense(int intermediateSize, ActivationSpec activation, boolean bias) {
    return (plan, layer, spec) ->
        feedForward(plan, layer, spec, intermediateSize, activation, bias);
  }

  /** The activation under {@code hidden_act}. */
  static ActivationSpec activation(ModelConfig config) {
    String name = config.text("hidden_act").orElse("silu");
    Activation kind =
        switch (name) {
          case "silu", "swish" -> Activation.SILU;
          case "gelu" -> Activation.GELU;
          case "gelu_pytorch_tanh", "gelu_new" -> Activation.GELU_TANH;
          case "relu" -> Activation.RELU;
          case "relu2" -> Activation.RELU_SQUARED;
          case "quick_gelu" -> Activation.QUICK_GELU;
          default ->
              throw config.unsupported(
                  "hidden_act", "silu, gelu, gelu_pytorch_tanh, relu, relu2 or quick_gelu");
        };
    return ActivationSpec.newBuilder().setKind(kind).build();
  }

  /** Starts a layer with its two norms. */
  static LayerSpec.Builder layer(DecoderPlan plan, int layer, double normEps) {
    String prefix = "model.layers." + layer + ".";
    plan.bindLayer(
        layer, prefix + "input_layernorm.weight", Slot.ATTENTION_NORM, plan.hiddenSize());
    plan.bindLayer(
        layer,
        prefix + "post_attention_layernorm.weight",
        Slot.FEED_FORWARD_NORM,
        plan.hiddenSize());
    return LayerSpec.newBuilder()
        .setAttentionNorm(DecoderPlan.rmsNorm(normEps))
        .setFeedForwardNorm(DecoderPlan.rmsNorm(normEps));
  }

  /** Sets a layer's attention. */
  static void attention(
      DecoderPlan plan,
      int layer,
      LayerSpec.Builder spec,
      Sizes sizes,
      Attention attention,
      int rope,
      int window) {
    String prefix = "model.layers." + layer + ".self_attn.";
    long hidden = plan.hiddenSize();
    long qRows = (long) sizes.numQHeads() * sizes.headDim();
    long kvRows = (long) sizes.numKvHeads() * sizes.headDim();
    plan.bindPart(layer, prefix + "q_proj.weight", Slot.QKV, Part.PART_Q, qRows, hidden);
    plan.bindPart(layer, prefix + "k_proj.weight", Slot.QKV, Part.PART_K, kvRows, hidden);
    plan.bindPart(layer, prefix + "v_proj.weight", Slot.QKV, Part.PART_V, kvRows, hidden);
    plan.bindLayer(layer, prefix + "o_proj.weight", Slot.O, hidden, qRows);
    GqaSpec.Builder gqa =
        GqaSpec.newBuilder()
            .setNumQHeads(sizes.numQHeads())
            .setNumKvHeads(sizes.numKvHeads())
            .setHeadDim(sizes.headDim())
            .setRope(rope)
            .setSoftmaxScale(1 / Math.sqrt(sizes.headDim()));
    if (attention.qkvBias()) {
      gqa.setQBias(true).setKBias(true).setVBias(true);
      plan.bindPart(layer, prefix + "q_proj.bias", Slot.QKV_BIAS, Part.PART_Q, qRows);
      plan.bindPart(layer, prefix + "k_proj.bias", Slot.QKV_BIAS, Part.PART_K, kvRows);
      plan.bindPart(layer, prefix + "v_proj.bias", Slot.QKV_BIAS, Part.PART_V, kvRows);
    }
    if (attention.oBias()) {
      gqa.setOBias(true);
      plan.bindLayer(layer, prefix + "o_proj.bias", Slot.O_BIAS, hidden);
    }
    if (attention.qkNorm()) {
      NormSpec norm =
          DecoderPlan.rmsNorm(sizes.normEps()).toBuilder().setScope(NormScope.PER_HEAD).build();
      gqa.setQNorm(norm).setKNorm(norm);
      plan.bindLayer(layer, prefix + "q_norm.weight", Slot.Q_NORM, sizes.headDim());
      plan.bindLayer(layer, prefix + "k_norm.weight", Slot.K_NORM, sizes.headDim());
    }
    if (attention.sinks()) {
      gqa.setSinks(true);
      plan.bindLayer(layer, prefix + "sinks", Slot.SINKS, sizes.numQHeads());
    }
    plan.ignore(prefix + "rotary_emb.inv_freq");
    spec.setGqa(gqa).setKvGroup(plan.kvGroup(window));
  }

  /** Sets a layer's gated feed-forward. */
  static void feedForward(
      DecoderPlan plan,
      int layer,
      LayerSpec.Builder spec,
      int intermediateSize,
      ActivationSpec activation,
      boolean bias) {
    String prefix = "model.layers." + layer + ".mlp.";
    long hidden = plan.hiddenSize();
    plan.bindPart(
        layer, prefix + "gate_proj.weight", Slot.GATE_UP, Part.PART_GATE, intermediateSize, hidden);
    plan.bindPart(
        layer, prefix + "up_proj.weight", Slot.GATE_UP, Part.PART_UP, intermediateSize, hidden);
    plan.bindLayer(layer, prefix + "down_proj.weight", Slot.DOWN, hidden, intermediateSize);
    DenseSpec.Builder dense =
        DenseSpec.newBuilder().setIntermediateSize(intermediateSize).setActivation(activation);
    if (bias) {
      dense.setGateUpBias(true).setDownBias(true);
      plan.bindPart(
          layer, prefix + "gate_proj.bias", Slot.GATE_UP_BIAS, Part.PART_GATE, intermediateSize);
      plan.bindPart(
          layer, prefix + "up_proj.bias", Slot.GATE_UP_BIAS, Part.PART_UP, intermediateSize);
      plan.bindLayer(layer, prefix + "down_proj.bias", Slot.DOWN_BIAS, hidden);
    }
    spec.setDense(dense);
  }
}

package ai.sluice.checkpoint.arch;

import ai.sluice.checkpoint.arch.GqaDecoder.Attention;
import ai.sluice.checkpoint.arch.Mixture.RouterNames;
import ai.sluice.checkpoint.arch.Mixture.SharedNames;
import ai.sluice.checkpoint.arch.Sizes.Defaults;
import ai.sluice.proto.ActivationSpec;
import ai.sluice.proto.DenseSpec;
import ai.sluice.proto.MoeSpec;
import ai.sluice.proto.RouterScore;
import com.google.common.collect.ImmutableSet;

/** Qwen 1.5 and 2 with mixtures: biases on q, k and v, a shared expert behind a gate of its own. */
final class Qwen2Moe implements Family {
  private static final Defaults DEFAULTS =
      new Defaults(16, Defaults.HIDDEN_OVER_HEADS, 32_768, 1e-6);

  @Override
  public String modelType() {
    return "qwen2_moe";
  }

  @Override
  public String architecture() {
    return "Qwen2MoeForCausalLM";
  }

  @Override
  public ImmutableSet<String> ggufArchitectures() {
    return ImmutableSet.of();
  }

  @Override
  public ModelPlan plan(ModelConfig config) {
    Sizes sizes = Sizes.read(config, DEFAULTS);
    int numExperts = config.integer("num_experts", 1, Mixture.MAX_EXPERTS, 60);
    ActivationSpec activation = GqaDecoder.activation(config);
    MoeSpec moe =
        MoeSpec.newBuilder()
            .setNumExperts(numExperts)
            .setNumExpertsPerToken(
                Mixture.expertsPerToken(config, "num_experts_per_tok", numExperts, 4))
            .setExpertIntermediateSize(
                config.integer("moe_intermediate_size", 1, Sizes.MAX_WIDTH, 1408))
            .setRouter(RouterScore.ROUTER_SOFTMAX)
            .setNormalizeTopK(config.flag("norm_topk_prob", false))
            .setActivation(activation)
            .setShared(
                DenseSpec.newBuilder()
                    .setIntermediateSize(
                        config.integer("shared_expert_intermediate_size", 1, Sizes.MAX_WIDTH, 5632))
                    .setActivation(activation))
            .setSharedGate(true)
            .build();
    Mixture mixture =
        new Mixture(
            moe,
            RouterNames.USUAL,
            ExpertNames.of(
                ExpertNames.single("mlp.experts.", "gate_proj", "up_proj", "down_proj"),
                ExpertNames.stacked("mlp.experts.")),
            new SharedNames("mlp.shared_expert.", "mlp.shared_expert_gate.weight"));
    return GqaDecoder.decoder(
        modelType(),
        config,
        sizes,
        new Attention(config.flag("qkv_bias", true), false, false),
        Rope.Defaults.USUAL,
        mixture.unlessDense(config, GqaDecoder.dense(sizes.intermediateSize(), activation, false)),
        SlidingWindows.noneIfUnused(config, sizes.numLayers()),
        Mixture.TRAINING);
  }
}

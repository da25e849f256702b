package ai.sluice.checkpoint.arch;

import ai.sluice.checkpoint.arch.GqaDecoder.Attention;
import ai.sluice.checkpoint.arch.Mixture.RouterNames;
import ai.sluice.checkpoint.arch.Sizes.Defaults;
import ai.sluice.proto.ActivationSpec;
import ai.sluice.proto.MoeSpec;
import ai.sluice.proto.RouterScore;
import com.google.common.collect.ImmutableSet;
import java.util.List;

/** Qwen 3 with mixtures: its attention, and experts in every layer that is not said to be dense. */
final class Qwen3Moe implements Family {
  private static final Defaults DEFAULTS =
      new Defaults(4, Defaults.HIDDEN_OVER_HEADS, 32_768, 1e-6);
  private static final int DEFAULT_WINDOW = 4096;

  @Override
  public String modelType() {
    return "qwen3_moe";
  }

  @Override
  public String architecture() {
    return "Qwen3MoeForCausalLM";
  }

  @Override
  public ImmutableSet<String> ggufArchitectures() {
    return ImmutableSet.of("qwen3moe");
  }

  @Override
  public ModelPlan plan(ModelConfig config) {
    Sizes sizes = Sizes.read(config, DEFAULTS);
    boolean bias = config.flag("attention_bias", false);
    String expertsKey = config.spelled("num_experts", "num_local_experts");
    int numExperts = config.integer(expertsKey, 1, Mixture.MAX_EXPERTS, 128);
    ActivationSpec activation = GqaDecoder.activation(config);
    MoeSpec moe =
        MoeSpec.newBuilder()
            .setNumExperts(numExperts)
            .setNumExpertsPerToken(
                Mixture.expertsPerToken(config, "num_experts_per_tok", numExperts, 8))
            .setExpertIntermediateSize(
                config.integer("moe_intermediate_size", 1, Sizes.MAX_WIDTH, 768))
            .setRouter(RouterScore.ROUTER_SOFTMAX)
            .setNormalizeTopK(config.flag("norm_topk_prob", false))
            .setActivation(activation)
            .build();
    Mixture mixture =
        new Mixture(
            moe,
            RouterNames.USUAL,
            ExpertNames.of(
                config,
                ExpertNames.single("mlp.experts.", "gate_proj", "up_proj", "down_proj"),
                ExpertNames.stacked("mlp.experts.")));
    return GqaDecoder.decoder(
        modelType(),
        config,
        sizes,
        new Attention(bias, bias, true),
        Rope.Defaults.USUAL,
        mixture.unlessDense(config, GqaDecoder.dense(sizes.intermediateSize(), activation, false)),
        windows(config, sizes.numLayers()),
        Mixture.TRAINING);
  }

  /** Every layer has the window if it is used; which layers later versions mean is not said. */
  private static List<Integer> windows(ModelConfig config, int numLayers) {
    return config.flag("use_sliding_window", false)
        ? SlidingWindows.everyLayer(config, numLayers, DEFAULT_WINDOW)
        : SlidingWindows.noneIfUnused(config, numLayers);
  }
}

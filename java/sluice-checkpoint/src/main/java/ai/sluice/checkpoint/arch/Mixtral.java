package ai.sluice.checkpoint.arch;

import ai.sluice.checkpoint.arch.GqaDecoder.Attention;
import ai.sluice.checkpoint.arch.Mixture.RouterNames;
import ai.sluice.checkpoint.arch.Sizes.Defaults;
import ai.sluice.proto.MoeSpec;
import ai.sluice.proto.RouterScore;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableSet;

/** Mixtral: Mistral's layers with a mixture of experts in each. In GGUF it is "llama". */
final class Mixtral implements Family {
  private static final Defaults DEFAULTS =
      new Defaults(8, Defaults.HIDDEN_OVER_HEADS, 4096 * 32, 1e-5);
  private static final Rope.Defaults ROPE = new Rope.Defaults(1_000_000, false);
  private static final Attention ATTENTION = new Attention(false, false, false);

  private static final RouterNames ROUTER =
      new RouterNames(ImmutableList.of("block_sparse_moe.gate.weight", "mlp.gate.weight"), "", "");

  @Override
  public String modelType() {
    return "mixtral";
  }

  @Override
  public String architecture() {
    return "MixtralForCausalLM";
  }

  @Override
  public ImmutableSet<String> ggufArchitectures() {
    return ImmutableSet.of();
  }

  @Override
  public ModelPlan plan(ModelConfig config) {
    Sizes sizes = Sizes.read(config, DEFAULTS);
    String expertsKey = config.spelled("num_local_experts", "num_experts");
    int numExperts = config.integer(expertsKey, 1, Mixture.MAX_EXPERTS, 8);
    MoeSpec moe =
        MoeSpec.newBuilder()
            .setNumExperts(numExperts)
            .setNumExpertsPerToken(
                Mixture.expertsPerToken(config, "num_experts_per_tok", numExperts, 2))
            .setExpertIntermediateSize(sizes.intermediateSize())
            .setRouter(RouterScore.ROUTER_SOFTMAX)
            .setNormalizeTopK(true)
            .setActivation(GqaDecoder.activation(config))
            .build();
    Mixture mixture =
        new Mixture(
            moe,
            ROUTER.unlessGguf(config),
            ExpertNames.of(
                config,
                ExpertNames.single("block_sparse_moe.experts.", "w1", "w3", "w2"),
                ExpertNames.stacked("mlp.experts.")));
    return GqaDecoder.decoder(
        modelType(),
        config,
        sizes,
        ATTENTION,
        ROPE,
        mixture,
        SlidingWindows.everyLayer(config, sizes.numLayers(), 0),
        Mixture.TRAINING);
  }
}

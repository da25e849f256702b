package ai.sluice.checkpoint.arch;

import ai.sluice.checkpoint.arch.GqaDecoder.Attention;
import ai.sluice.checkpoint.arch.GqaDecoder.FeedForward;
import ai.sluice.checkpoint.arch.Sizes.Defaults;
import ai.sluice.proto.MoeSpec;
import ai.sluice.proto.RouterScore;
import com.google.common.collect.ImmutableSet;

/**
 * DeepSeekMoE: Llama's attention, softmax router, shared experts beside the routed ones. Without
 * routed experts it is a dense Llama.
 */
final class Deepseek implements Family {
  private static final Defaults DEFAULTS =
      new Defaults(Defaults.AS_QUERY_HEADS, Defaults.HIDDEN_OVER_HEADS, 2048, 1e-6);
  // A silent config has no experts of either kind.
  private static final DeepseekMixture.Defaults EXPERTS =
      new DeepseekMixture.Defaults(0, 0, 0, 1407, 0);
  // Keeps a sum of weights that all vanish from dividing by zero.
  private static final double EPSILON = 1e-20;

  @Override
  public String modelType() {
    return "deepseek";
  }

  @Override
  public String architecture() {
    return "DeepseekForCausalLM";
  }

  @Override
  public ImmutableSet<String> ggufArchitectures() {
    return ImmutableSet.of("deepseek");
  }

  @Override
  public ModelPlan plan(ModelConfig config) {
    Sizes sizes = Sizes.read(config, DEFAULTS);
    boolean bias = config.flag("attention_bias", false);
    FeedForward feedForward =
        DeepseekMixture.read(config, sizes.intermediateSize(), false, EXPERTS, Deepseek::route);
    return GqaDecoder.decoder(
        modelType(),
        config,
        sizes,
        new Attention(bias, bias, false),
        Rope.Defaults.USUAL,
        feedForward,
        SlidingWindows.none(sizes.numLayers()),
        Mixture.TRAINING);
  }

  private static void route(ModelConfig config, MoeSpec.Builder moe) {
    DeepseekMixture.require(config, "scoring_func", "softmax");
    moe.setRouter(RouterScore.ROUTER_SOFTMAX);
    // A single weight stays as it is.
    if (config.flag("norm_topk_prob", false) && moe.getNumExpertsPerToken() > 1) {
      moe.setNormalizeTopK(true).setNormalizeEpsilon(EPSILON);
    }
  }
}

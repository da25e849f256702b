package ai.sluice.checkpoint.arch;

import ai.sluice.checkpoint.arch.GqaDecoder.FeedForward;
import ai.sluice.proto.GroupScore;
import ai.sluice.proto.MoeSpec;
import ai.sluice.proto.RouterScore;
import com.google.common.collect.ImmutableSet;

/**
 * DeepSeek V3 and R1: latent attention, sigmoid router with a correction bias, groups by their best
 * two experts, a layer for multi-token prediction behind the model's own.
 */
final class DeepseekV3 implements Family {
  private static final int MAX_POSITIONS = 4096;
  private static final DeepseekMixture.Defaults DEFAULTS =
      new DeepseekMixture.Defaults(256, 8, 1, 2048, 3);
  private static final int GROUPS = 8;
  private static final int GROUPS_PER_TOKEN = 4;
  private static final int PREDICTION_LAYERS = 1;
  // Keeps a sum of weights that all vanish from dividing by zero.
  private static final double EPSILON = 1e-20;

  @Override
  public String modelType() {
    return "deepseek_v3";
  }

  @Override
  public String architecture() {
    return "DeepseekV3ForCausalLM";
  }

  @Override
  public ImmutableSet<String> ggufArchitectures() {
    return ImmutableSet.of();
  }

  @Override
  public ModelPlan plan(ModelConfig config) {
    MlaSizes sizes = MlaSizes.read(config, MAX_POSITIONS);
    FeedForward feedForward =
        DeepseekMixture.read(config, sizes.intermediateSize(), false, DEFAULTS, DeepseekV3::route);
    return MlaDecoder.decoder(
        modelType(),
        config,
        sizes,
        feedForward,
        DeepseekMixture.predictionLayers(config, sizes.numLayers(), PREDICTION_LAYERS),
        Mixture.TRAINING);
  }

  private static void route(ModelConfig config, MoeSpec.Builder moe) {
    DeepseekMixture.require(config, "scoring_func", "sigmoid");
    DeepseekMixture.require(config, "topk_method", "noaux_tc");
    moe.setRouter(RouterScore.ROUTER_SIGMOID)
        .setCorrectionBias(true)
        .setRoutedScalingFactor(config.positive("routed_scaling_factor", 2.5));
    if (config.flag("norm_topk_prob", true)) {
      moe.setNormalizeTopK(true).setNormalizeEpsilon(EPSILON);
    }
    Mixture.readGroups(config, moe, GroupScore.GROUP_TOP2_SUM, GROUPS, GROUPS_PER_TOKEN);
  }
}

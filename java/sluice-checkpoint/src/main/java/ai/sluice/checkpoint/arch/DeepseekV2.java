package ai.sluice.checkpoint.arch;

import ai.sluice.checkpoint.arch.GqaDecoder.FeedForward;
import ai.sluice.proto.GroupScore;
import ai.sluice.proto.MoeSpec;
import ai.sluice.proto.RouterScore;
import com.google.common.collect.ImmutableSet;
import java.util.List;

/** DeepSeek V2 and V2 Lite: latent attention, softmax router, groups by their best expert. */
final class DeepseekV2 implements Family {
  private static final int MAX_POSITIONS = 2048;
  private static final DeepseekMixture.Defaults DEFAULTS =
      new DeepseekMixture.Defaults(64, 0, 2, 1407, 0);

  @Override
  public String modelType() {
    return "deepseek_v2";
  }

  @Override
  public String architecture() {
    return "DeepseekV2ForCausalLM";
  }

  @Override
  public ImmutableSet<String> ggufArchitectures() {
    return ImmutableSet.of("deepseek2");
  }

  @Override
  public ModelPlan plan(ModelConfig config) {
    // GGUF files of this architecture hold both generations.
    if (config.flag(GgufKeys.IS_GGUF, false)
        && config.text("scoring_func").orElse("softmax").equals("sigmoid")) {
      return new DeepseekV3().plan(config);
    }
    MlaSizes sizes = MlaSizes.read(config, MAX_POSITIONS);
    FeedForward feedForward =
        DeepseekMixture.read(
            config,
            sizes.intermediateSize(),
            config.flag("mlp_bias", false),
            DEFAULTS,
            DeepseekV2::route);
    return MlaDecoder.decoder(modelType(), config, sizes, feedForward, List.of(), Mixture.TRAINING);
  }

  private static void route(ModelConfig config, MoeSpec.Builder moe) {
    DeepseekMixture.require(config, "scoring_func", "softmax");
    if (config.flag("norm_topk_prob", false)) {
      // Its first loader normalises instead of scaling, its later one does neither.
      throw config.unsupported("norm_topk_prob", "false for this family");
    }
    moe.setRouter(RouterScore.ROUTER_SOFTMAX)
        .setRoutedScalingFactor(config.positive("routed_scaling_factor", 1));
    String method = config.text("topk_method").orElse("greedy");
    switch (method) {
      case "greedy" -> {
        config.has("n_group");
        config.has("topk_group");
      }
      case "group_limited_greedy" -> Mixture.readGroups(config, moe, GroupScore.GROUP_MAX, 0, 0);
      default -> throw config.unsupported("topk_method", "greedy or group_limited_greedy");
    }
  }
}

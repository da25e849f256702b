package ai.sluice.checkpoint.arch;

import ai.sluice.checkpoint.arch.GqaDecoder.Attention;
import ai.sluice.checkpoint.arch.Mixture.RouterNames;
import ai.sluice.checkpoint.arch.Sizes.Defaults;
import ai.sluice.proto.Activation;
import ai.sluice.proto.ActivationSpec;
import ai.sluice.proto.MoeSpec;
import ai.sluice.proto.RouterScore;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableSet;
import com.google.common.collect.Sets;
import java.util.Optional;

/**
 * gpt-oss: attention sinks and biases, windows on every other layer, experts with a clamped gate
 * whose columns are interleaved with the up projection's.
 */
final class GptOss implements Family {
  private static final Defaults DEFAULTS = new Defaults(8, 64, 131_072, 1e-5);
  private static final Rope.Defaults ROPE =
      new Rope.Defaults(
          150_000,
          false,
          Optional.of(
              JsonNodeFactory.instance
                  .objectNode()
                  .put("rope_type", "yarn")
                  .put("factor", 32)
                  .put("truncate", false)
                  .put("original_max_position_embeddings", 4096)));
  private static final int DEFAULT_WINDOW = 128;
  // Says again what the RoPE settings say.
  private static final ImmutableSet<String> HARMLESS = ImmutableSet.of("initial_context_length");
  private static final RouterNames ROUTER =
      new RouterNames(ImmutableList.of("mlp.router.weight"), "mlp.router.bias", "");

  @Override
  public String modelType() {
    return "gpt_oss";
  }

  @Override
  public String architecture() {
    return "GptOssForCausalLM";
  }

  @Override
  public ImmutableSet<String> ggufArchitectures() {
    return ImmutableSet.of("gpt-oss");
  }

  @Override
  public ModelPlan plan(ModelConfig config) {
    Sizes sizes = Sizes.read(config, DEFAULTS);
    // GGUF files give the one width under both names.
    config.spelled("intermediate_size", "moe_intermediate_size");
    boolean bias = config.flag("attention_bias", true);
    String expertsKey = config.spelled("num_local_experts", "num_experts");
    int numExperts = config.integer(expertsKey, 1, Mixture.MAX_EXPERTS, 128);
    String chosenKey = config.spelled("num_experts_per_tok", "experts_per_token");
    MoeSpec moe =
        MoeSpec.newBuilder()
            .setNumExperts(numExperts)
            .setNumExpertsPerToken(Mixture.expertsPerToken(config, chosenKey, numExperts, 4))
            .setExpertIntermediateSize(sizes.intermediateSize())
            .setRouter(RouterScore.ROUTER_TOPK_SOFTMAX)
            .setRouterBias(true)
            .setActivation(activation(config))
            .setGateUpBias(true)
            .setDownBias(true)
            .build();
    Mixture mixture =
        new Mixture(
            moe,
            ROUTER.unlessGguf(config),
            ExpertNames.of(
                config,
                ExpertNames.interleaved("mlp.experts."),
                ExpertNames.interleavedMxfp4("mlp.experts.")));
    return GqaDecoder.decoder(
        modelType(),
        config,
        sizes,
        new Attention(bias, bias, false, true),
        ROPE,
        mixture,
        SlidingWindows.everyOther(config, sizes.numLayers(), DEFAULT_WINDOW),
        Sets.union(HARMLESS, Mixture.TRAINING));
  }

  private static ActivationSpec activation(ModelConfig config) {
    if (!config.text("hidden_act").orElse("silu").equals("silu")) {
      throw config.unsupported("hidden_act", "silu");
    }
    return ActivationSpec.newBuilder()
        .setKind(Activation.CLAMPED_SWIGLU)
        .setAlpha(config.positive("swiglu_alpha", 1.702))
        .setBeta(1)
        .setLimit(config.positive("swiglu_limit", 7))
        .build();
  }
}

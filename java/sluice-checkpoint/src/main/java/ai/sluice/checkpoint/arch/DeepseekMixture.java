package ai.sluice.checkpoint.arch;

import ai.sluice.checkpoint.arch.GqaDecoder.FeedForward;
import ai.sluice.checkpoint.arch.Mixture.RouterNames;
import ai.sluice.proto.ActivationSpec;
import ai.sluice.proto.DenseSpec;
import ai.sluice.proto.MoeSpec;
import com.google.common.collect.ImmutableSet;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * The feed-forward of DeepSeek's families: dense in the first layers, then routed experts beside
 * shared ones that run for every token as one wider expert.
 */
final class DeepseekMixture {
  /** What a family assumes where a config is silent; 0 experts of a kind: none. */
  record Defaults(
      int routedExperts, int expertsPerToken, int sharedExperts, int expertWidth, int firstDense) {}

  /** Completes the routing of a mixture whose sizes are set. */
  interface Routing {
    /** Reads the settings of the router. */
    void read(ModelConfig config, MoeSpec.Builder moe);
  }

  // What is said of the router of a model that has none.
  private static final ImmutableSet<String> ROUTER_KEYS =
      ImmutableSet.of(
          "num_experts_per_tok",
          "scoring_func",
          "norm_topk_prob",
          "routed_scaling_factor",
          "topk_method",
          "n_group",
          "topk_group");

  private DeepseekMixture() {}

  /** Reads the settings. */
  static FeedForward read(
      ModelConfig config, int denseWidth, boolean mlpBias, Defaults defaults, Routing routing) {
    ActivationSpec activation = GqaDecoder.activation(config);
    FeedForward dense = GqaDecoder.dense(denseWidth, activation, mlpBias);
    int width = config.integer("moe_intermediate_size", 1, Sizes.MAX_WIDTH, defaults.expertWidth());
    int first =
        config.integer("first_k_dense_replace", 0, Integer.MAX_VALUE, defaults.firstDense());
    int frequency = config.integer("moe_layer_freq", 1, Sizes.MAX_LAYERS, 1);
    int shared = shared(config, defaults, width);
    String expertsKey = config.spelled("n_routed_experts", "num_experts", "num_local_experts");
    boolean none = config.isNull("n_routed_experts") || defaults.routedExperts() == 0;
    if (none && !config.has(expertsKey)) {
      ROUTER_KEYS.forEach(config::has);
      return dense;
    }
    int numExperts = config.integer(expertsKey, 1, Mixture.MAX_EXPERTS, defaults.routedExperts());
    MoeSpec.Builder moe =
        MoeSpec.newBuilder()
            .setNumExperts(numExperts)
            .setNumExpertsPerToken(chosen(config, numExperts, defaults))
            .setExpertIntermediateSize(width)
            .setActivation(activation);
    if (shared > 0) {
      moe.setShared(
          DenseSpec.newBuilder()
              .setIntermediateSize(shared * width)
              .setActivation(activation)
              .setGateUpBias(mlpBias)
              .setDownBias(mlpBias));
    }
    routing.read(config, moe);
    Mixture mixture =
        new Mixture(
            moe.build(),
            RouterNames.USUAL,
            ExpertNames.of(
                config,
                ExpertNames.single("mlp.experts.", "gate_proj", "up_proj", "down_proj"),
                ExpertNames.stacked("mlp.experts.")));
    return mixture.where(layer -> layer >= first && layer % frequency == 0, dense);
  }

  private static int chosen(ModelConfig config, int numExperts, Defaults defaults) {
    String key = "num_experts_per_tok";
    return defaults.expertsPerToken() == 0
        ? Mixture.expertsPerToken(config, key, numExperts)
        : Mixture.expertsPerToken(config, key, numExperts, defaults.expertsPerToken());
  }

  private static int shared(ModelConfig config, Defaults defaults, int width) {
    int assumed = config.isNull("n_shared_experts") ? 0 : defaults.sharedExperts();
    int most = Sizes.MAX_WIDTH / width;
    return config.integer("n_shared_experts", 0, most, assumed);
  }

  /**
   * A layer behind the model's own that predicts a further token: not run, but known. Its first
   * part mixes the hidden state with the next token's embedding, which no other layer does.
   *
   * @param assumed what a silent config means
   */
  static Iterable<ModelPlan.SetAside> predictionLayers(
      ModelConfig config, int numLayers, int assumed) {
    String key = config.spelled("num_nextn_predict_layers", "num_mtp_layers");
    int count = config.integer(key, 0, Sizes.MAX_LAYERS, assumed);
    return IntStream.range(numLayers, numLayers + count)
        .mapToObj(
            layer ->
                new ModelPlan.SetAside(
                    "model.layers." + layer + ".",
                    "eh_proj.weight",
                    "layer " + layer + " for multi-token prediction"))
        .toList();
  }

  /** Throws unless a text setting, if it is there, has this value. */
  static void require(ModelConfig config, String key, String only) {
    Optional<String> value = config.text(key);
    if (value.isPresent() && !value.get().equals(only)) {
      throw config.unsupported(key, only);
    }
  }
}

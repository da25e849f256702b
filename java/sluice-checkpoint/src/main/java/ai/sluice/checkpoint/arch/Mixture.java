package ai.sluice.checkpoint.arch;

import ai.sluice.checkpoint.arch.GqaDecoder.FeedForward;
import ai.sluice.proto.DenseSpec;
import ai.sluice.proto.GroupScore;
import ai.sluice.proto.LayerSpec;
import ai.sluice.proto.MoeSpec;
import ai.sluice.proto.Part;
import ai.sluice.proto.Slot;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableSet;
import java.util.List;
import java.util.Set;
import java.util.function.IntPredicate;

/**
 * A mixture of experts as the feed-forward of a layer: what its router and experts are, and under
 * which names their tensors lie. What is bound follows from the spec alone.
 *
 * @param spec the same for every layer that has one
 * @param router where the router's tensors lie
 * @param experts where the experts' tensors lie
 * @param shared where the shared expert's tensors lie, if there is one
 */
record Mixture(MoeSpec spec, RouterNames router, ExpertNames experts, SharedNames shared)
    implements FeedForward {
  Mixture(MoeSpec spec, RouterNames router, ExpertNames experts) {
    this(spec, router, experts, SharedNames.USUAL);
  }

  /** Most experts of a layer: choices are remembered as 16-bit numbers. */
  static final int MAX_EXPERTS = 1 << 16;

  /** Settings of the training loss and of how training was spread over machines. */
  static final ImmutableSet<String> TRAINING =
      ImmutableSet.of(
          "router_aux_loss_coef",
          "router_z_loss_coef",
          "router_jitter_noise",
          "aux_loss_alpha",
          "seq_aux",
          "ep_size");

  /**
   * Where a router's tensors lie, after the prefix of their layer.
   *
   * @param weight its matrix; where there are several names, any of them
   * @param bias its bias
   * @param correctionBias the bias that takes part in the choice only
   */
  record RouterNames(ImmutableList<String> weight, String bias, String correctionBias) {
    /** The names that most families use. */
    static final RouterNames USUAL =
        new RouterNames(
            ImmutableList.of("mlp.gate.weight"),
            "mlp.gate.bias",
            "mlp.gate.e_score_correction_bias");

    /** These, or the usual ones where {@code config} comes from a GGUF file. */
    RouterNames unlessGguf(ModelConfig config) {
      return config.flag(GgufKeys.IS_GGUF, false) ? USUAL : this;
    }
  }

  /**
   * Where a shared expert's tensors lie, after the prefix of their layer.
   *
   * @param prefix of its three matrices
   * @param gate the matrix that opens it, if the spec has one
   */
  record SharedNames(String prefix, String gate) {
    /** The names that most families use. */
    static final SharedNames USUAL = new SharedNames("mlp.shared_experts.", "");
  }

  /** The number of experts that a token goes to: at most all. */
  static int expertsPerToken(ModelConfig config, String key, int numExperts) {
    int chosen = config.integer(key, 1, Integer.MAX_VALUE);
    return atMostAll(config, key, chosen, numExperts);
  }

  /** The same with a family's default. */
  static int expertsPerToken(ModelConfig config, String key, int numExperts, int fallback) {
    int chosen = config.integer(key, 1, Integer.MAX_VALUE, fallback);
    return atMostAll(config, key, chosen, numExperts);
  }

  private static int atMostAll(ModelConfig config, String key, int chosen, int numExperts) {
    if (chosen > numExperts) {
      throw config.bad(key, "at most the number of experts, " + numExperts);
    }
    return chosen;
  }

  /**
   * Limits the choice to the best groups of experts, as {@code n_group} and {@code topk_group} say.
   *
   * @param assumedGroups what a silent config means; 0: the settings are required
   * @param assumedChosen likewise
   */
  static void readGroups(
      ModelConfig config,
      MoeSpec.Builder moe,
      GroupScore score,
      int assumedGroups,
      int assumedChosen) {
    int experts = moe.getNumExperts();
    int groups =
        assumedGroups == 0
            ? config.integer("n_group", 1, experts)
            : config.integer("n_group", 1, experts, assumedGroups);
    int chosen =
        assumedChosen == 0
            ? config.integer("topk_group", 1, groups)
            : config.integer("topk_group", 1, groups, assumedChosen);
    if (experts % groups != 0) {
      throw config.bad("n_group", "a divisor of the number of experts, " + experts);
    }
    int size = experts / groups;
    if (score == GroupScore.GROUP_TOP2_SUM && size < 2) {
      throw config.bad(
          "n_group", "at most " + experts / 2 + ", since the best two experts of a group count");
    }
    if ((long) chosen * size < moe.getNumExpertsPerToken()) {
      throw config.bad(
          "topk_group",
          "enough groups of "
              + size
              + " experts for the "
              + moe.getNumExpertsPerToken()
              + " of a token");
    }
    if (groups > 1) {
      moe.setNumGroups(groups).setNumGroupsPerToken(chosen).setGroupScore(score);
    }
  }

  /** A mixture in the layers that {@code sparse} picks, {@code dense} in the others. */
  FeedForward where(IntPredicate sparse, FeedForward dense) {
    return (plan, layer, spec) -> (sparse.test(layer) ? this : dense).add(plan, layer, spec);
  }

  /** Qwen's way: every n-th layer is sparse, but for those that a list names. */
  FeedForward unlessDense(ModelConfig config, FeedForward dense) {
    int step = config.integer("decoder_sparse_step", 1, Sizes.MAX_LAYERS, 1);
    Set<Integer> denseLayers = Set.copyOf(config.integers("mlp_only_layers").orElse(List.of()));
    return where(layer -> (layer + 1) % step == 0 && !denseLayers.contains(layer), dense);
  }

  @Override
  public void add(DecoderPlan plan, int layer, LayerSpec.Builder layerSpec) {
    String prefix = "model.layers." + layer + ".";
    long numExperts = spec.getNumExperts();
    plan.bindAny(
        router.weight().stream()
            .<Iterable<Binding>>map(
                name ->
                    List.of(
                        new Binding(
                            prefix + name,
                            Binding.longs(numExperts, plan.hiddenSize()),
                            DecoderPlan.destination(layer, Slot.ROUTER, Part.WHOLE).build())))
            .toList());
    if (spec.getRouterBias()) {
      plan.bindLayer(layer, prefix + router.bias(), Slot.ROUTER_BIAS, numExperts);
    }
    if (spec.getCorrectionBias()) {
      plan.bindLayer(
          layer, prefix + router.correctionBias(), Slot.ROUTER_CORRECTION_BIAS, numExperts);
    }
    experts.bind(plan, layer, prefix, spec);
    if (spec.hasShared()) {
      bindShared(plan, layer, prefix + shared.prefix(), spec.getShared());
    }
    if (spec.getSharedGate()) {
      plan.bindLayer(layer, prefix + shared.gate(), Slot.SHARED_GATE, 1, plan.hiddenSize());
    }
    layerSpec.setMoe(spec);
  }

  private static void bindShared(DecoderPlan plan, int layer, String prefix, DenseSpec shared) {
    long hidden = plan.hiddenSize();
    long width = shared.getIntermediateSize();
    plan.bindPart(
        layer, prefix + "gate_proj.weight", Slot.SHARED_GATE_UP, Part.PART_GATE, width, hidden);
    plan.bindPart(
        layer, prefix + "up_proj.weight", Slot.SHARED_GATE_UP, Part.PART_UP, width, hidden);
    plan.bindLayer(layer, prefix + "down_proj.weight", Slot.SHARED_DOWN, hidden, width);
    if (shared.getGateUpBias()) {
      plan.bindPart(
          layer, prefix + "gate_proj.bias", Slot.SHARED_GATE_UP_BIAS, Part.PART_GATE, width);
      plan.bindPart(layer, prefix + "up_proj.bias", Slot.SHARED_GATE_UP_BIAS, Part.PART_UP, width);
    }
    if (shared.getDownBias()) {
      plan.bindLayer(layer, prefix + "down_proj.bias", Slot.SHARED_DOWN_BIAS, hidden);
    }
  }
}

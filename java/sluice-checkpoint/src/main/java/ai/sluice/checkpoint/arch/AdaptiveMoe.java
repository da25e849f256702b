package ai.sluice.checkpoint.arch;

import ai.sluice.proto.Activation;
import ai.sluice.proto.ActivationSpec;
import ai.sluice.proto.AdaptiveAttentionKind;
import ai.sluice.proto.AdaptiveAttentionSpec;
import ai.sluice.proto.CompressionSpec;
import ai.sluice.proto.HeadKind;
import ai.sluice.proto.HeadSpec;
import ai.sluice.proto.LayerSpec;
import ai.sluice.proto.MoeSpec;
import ai.sluice.proto.NormKind;
import ai.sluice.proto.NormSpec;
import ai.sluice.proto.Part;
import ai.sluice.proto.RouterScore;
import ai.sluice.proto.Slot;
import com.google.common.collect.ImmutableSet;
import java.util.List;
import java.util.Optional;

/**
 * The adaptive family: learned relative positions, a sparsity pattern for each layer, a router
 * network with stored noise and capacity, compression before the heads. Its definition is {@code
 * SPEC.md} beside the fixtures.
 */
final class AdaptiveMoe implements Family {
  private static final int MAX_COUNT = 1 << 27;
  // The definition has no largest position.
  private static final int MAX_POSITIONS = 1 << 17;
  private static final ActivationSpec GELU =
      ActivationSpec.newBuilder().setKind(Activation.GELU).build();
  private static final ExpertNames EXPERTS =
      ExpertNames.of(ExpertNames.single("moe.experts.", "", "fc1", "fc2"));

  @Override
  public String modelType() {
    return "adaptive_moe";
  }

  @Override
  public String architecture() {
    return "AdaptiveMoeForCausalLM";
  }

  @Override
  public ImmutableSet<String> ggufArchitectures() {
    return ImmutableSet.of();
  }

  @Override
  public ModelPlan plan(ModelConfig config) {
    int hidden = config.integer("hidden_size", 1, Sizes.MAX_WIDTH);
    int heads = config.integer("num_attention_heads", 1, Sizes.MAX_HEADS);
    if (hidden % heads != 0) {
      throw config.bad("hidden_size", "a multiple of num_attention_heads, " + heads);
    }
    int numLayers = config.integer("num_hidden_layers", 1, Sizes.MAX_LAYERS);
    NormSpec norm = DecoderPlan.rmsNorm(config.positive("rms_norm_eps", 1e-6));
    DecoderPlan plan =
        new DecoderPlan(
            modelType(),
            config.integer("vocab_size", 1, Sizes.MAX_VOCAB),
            hidden,
            config.integer("max_position_embeddings", 1, MAX_COUNT, MAX_POSITIONS));
    Quantization.read(config, plan);
    plan.addEmbedding("embed_tokens.weight");
    List<AdaptiveAttentionKind> kinds = kinds(config, numLayers);
    Attention attention = new Attention(config, heads, hidden / heads);
    MoeSpec moe = moe(config);
    for (int i = 0; i < numLayers; i++) {
      String prefix = "layers." + i + ".";
      AdaptiveAttentionSpec adaptive = attention.of(kinds.get(i));
      LayerSpec.Builder layer =
          LayerSpec.newBuilder()
              .setAttentionNorm(norm)
              .setFeedForwardNorm(norm)
              .setAdaptive(adaptive)
              .setMoe(moe)
              .setKvGroup(plan.kvGroup(0, retention(adaptive, moe)));
      plan.bindLayer(i, prefix + "norm1.weight", Slot.ATTENTION_NORM, hidden);
      bindAttention(plan, i, prefix + "attention.", adaptive);
      plan.bindLayer(i, prefix + "norm2.weight", Slot.FEED_FORWARD_NORM, hidden);
      bindMoe(plan, i, prefix, moe);
      plan.addLayer(layer);
    }
    addCompression(config, plan, norm);
    addHeads(config, plan);
    plan.note(ConfigPolicy.passOver(config));
    return plan.build();
  }

  private static List<AdaptiveAttentionKind> kinds(ModelConfig config, int numLayers) {
    List<String> types = config.texts("attention_types").orElse(List.of());
    if (types.size() != numLayers) {
      throw config.bad("attention_types", numLayers + " entries, one per layer");
    }
    return types.stream()
        .map(
            type ->
                switch (type) {
                  case "full" -> AdaptiveAttentionKind.ADAPTIVE_FULL;
                  case "sliding_window" -> AdaptiveAttentionKind.ADAPTIVE_SLIDING_WINDOW;
                  case "topk" -> AdaptiveAttentionKind.ADAPTIVE_TOPK;
                  case "density" -> AdaptiveAttentionKind.ADAPTIVE_DENSITY;
                  case "block_sparse" -> AdaptiveAttentionKind.ADAPTIVE_BLOCK_SPARSE;
                  case "block_topk" -> AdaptiveAttentionKind.ADAPTIVE_BLOCK_TOPK;
                  default ->
                      throw config.unsupported(
                          "attention_types",
                          "full, sliding_window, topk, density, block_sparse or block_topk, not "
                              + type);
                })
        .toList();
  }

  /** The settings of all kinds, of which a layer takes those of its own. */
  private static final class Attention {
    private final AdaptiveAttentionSpec common;
    private final int window;
    private final int topK;
    private final double densityThreshold;
    private final int densityWindow;
    private final int blockSize;
    private final int localBlocks;
    private final int globalBlocks;
    private final int randomBlocks;
    private final long seed;
    private final int keepPercent;

    Attention(ModelConfig config, int heads, int headDim) {
      boolean bias = config.flag("attention_bias", true);
      boolean gate = config.flag("sparse_gate", true);
      double threshold = config.between("sparse_gate_threshold", 0, 1, 0.1);
      AdaptiveAttentionSpec.Builder spec =
          AdaptiveAttentionSpec.newBuilder()
              .setNumQHeads(heads)
              .setHeadDim(headDim)
              .setSoftmaxScale(1 / Math.sqrt(headDim))
              .setRelativePositions(config.integer("relative_positions", 1, MAX_COUNT, 128))
              .setQkvBias(bias)
              .setOBias(bias);
      if (gate) {
        spec.setSparseGate(true).setSparseGateThreshold(threshold);
      }
      common = spec.build();
      window = config.integer("sliding_window", 1, MAX_COUNT, 256);
      topK = config.integer("attention_top_k", 1, MAX_COUNT, 32);
      densityThreshold = config.between("density_threshold", 0, 1, 0.5);
      densityWindow = config.integer("density_window", 1, MAX_COUNT, 64);
      blockSize = config.integer("block_size", 1, MAX_COUNT, 64);
      localBlocks = config.integer("num_local_blocks", 1, MAX_COUNT, 1);
      globalBlocks = config.integer("num_global_blocks", 0, MAX_COUNT, 1);
      randomBlocks = config.integer("num_random_blocks", 0, MAX_COUNT, 3);
      // The generator works modulo 2^32.
      seed = config.wideInteger("random_block_seed", 0) & 0xffffffffL;
      keepPercent = config.integer("block_keep_percent", 0, 100, 30);
    }

    AdaptiveAttentionSpec of(AdaptiveAttentionKind kind) {
      AdaptiveAttentionSpec.Builder spec = common.toBuilder().setKind(kind);
      switch (kind) {
        case ADAPTIVE_FULL -> {}
        case ADAPTIVE_SLIDING_WINDOW -> spec.setWindow(window);
        case ADAPTIVE_TOPK -> spec.setTopK(topK);
        case ADAPTIVE_DENSITY ->
            spec.setWindow(densityWindow).setDensityThreshold(densityThreshold);
        case ADAPTIVE_BLOCK_SPARSE ->
            spec.setSparseBlockSize(blockSize)
                .setNumLocalBlocks(localBlocks)
                .setNumGlobalBlocks(globalBlocks)
                .setNumRandomBlocks(randomBlocks)
                .setRandomBlockSeed(seed);
        case ADAPTIVE_BLOCK_TOPK ->
            spec.setSparseBlockSize(blockSize).setBlockKeepPercent(keepPercent);
      }
      return spec.build();
    }
  }

  private static MoeSpec moe(ModelConfig config) {
    int numExperts = config.integer("moe_num_experts", 1, Mixture.MAX_EXPERTS);
    int width = config.integer("moe_intermediate_size", 1, Sizes.MAX_WIDTH);
    // 0 is the schema's "no limit", which configs spell null: no default is ever taken from it.
    return MoeSpec.newBuilder()
        .setNumExperts(numExperts)
        .setNumExpertsPerToken(Mixture.expertsPerToken(config, "moe_top_k", numExperts))
        .setExpertIntermediateSize(width)
        .setRouter(RouterScore.ROUTER_NOISY_NETWORK)
        .setRouterBias(true)
        .setRouterHiddenSize(config.integer("router_hidden_size", 1, Sizes.MAX_WIDTH, 256))
        .setExpertCapacity(config.integer("expert_capacity", 1, MAX_COUNT, 0))
        .setCapacityWindow(config.integer("capacity_window", 1, MAX_COUNT, 0))
        .setActivation(GELU)
        .setGated(false)
        .setGateUpBias(true)
        .setDownBias(true)
        .build();
  }

  /** How far a layer sees or counts; 0 where that is the whole sequence. */
  private static int retention(AdaptiveAttentionSpec attention, MoeSpec moe) {
    if (attention.getKind() != AdaptiveAttentionKind.ADAPTIVE_SLIDING_WINDOW) {
      return 0;
    }
    if (moe.getExpertCapacity() == 0) {
      return attention.getWindow();
    }
    return moe.getCapacityWindow() == 0
        ? 0
        : Math.max(attention.getWindow(), moe.getCapacityWindow());
  }

  private static void bindAttention(
      DecoderPlan plan, int layer, String prefix, AdaptiveAttentionSpec spec) {
    long hidden = plan.hiddenSize();
    long heads = spec.getNumQHeads();
    plan.bindLayer(layer, prefix + "to_qkv.weight", Slot.QKV, 3 * hidden, hidden);
    if (spec.getQkvBias()) {
      plan.bindLayer(layer, prefix + "to_qkv.bias", Slot.QKV_BIAS, 3 * hidden);
    }
    plan.bindLayer(layer, prefix + "to_out.weight", Slot.O, hidden, hidden);
    if (spec.getOBias()) {
      plan.bindLayer(layer, prefix + "to_out.bias", Slot.O_BIAS, hidden);
    }
    plan.bindLayer(
        layer,
        prefix + "relative_position",
        Slot.RELATIVE_POSITION,
        heads,
        spec.getRelativePositions());
    if (spec.getSparseGate()) {
      plan.bindLayer(layer, prefix + "gate.weight", Slot.SPARSE_GATE, heads, hidden);
      plan.bindLayer(layer, prefix + "gate.bias", Slot.SPARSE_GATE_BIAS, heads);
    }
    if (spec.getKind() == AdaptiveAttentionKind.ADAPTIVE_DENSITY) {
      plan.bindLayer(layer, prefix + "density.weight", Slot.DENSITY, 1, hidden);
      plan.bindLayer(layer, prefix + "density.bias", Slot.DENSITY_BIAS, 1);
    }
  }

  private static void bindMoe(DecoderPlan plan, int layer, String prefix, MoeSpec moe) {
    String router = prefix + "moe.router.";
    long inner = moe.getRouterHiddenSize();
    long experts = moe.getNumExperts();
    plan.bindLayer(layer, router + "gate.0.weight", Slot.ROUTER, inner, plan.hiddenSize());
    plan.bindLayer(layer, router + "gate.0.bias", Slot.ROUTER_BIAS, inner);
    plan.bindLayer(layer, router + "gate.2.weight", Slot.ROUTER_OUT, experts, inner);
    plan.bindLayer(layer, router + "gate.2.bias", Slot.ROUTER_OUT_BIAS, experts);
    plan.bind(
        new Binding(
            router + "noise",
            Binding.longs(1, experts),
            DecoderPlan.destination(layer, Slot.ROUTER_NOISE, Part.WHOLE).build(),
            Optional.of(Binding.View.reshaped(experts)),
            Optional.empty()));
    EXPERTS.bind(plan, layer, prefix, moe);
  }

  private static void addCompression(ModelConfig config, DecoderPlan plan, NormSpec norm) {
    long hidden = plan.hiddenSize();
    double ratio = config.between("memory_compression_ratio", 0, Sizes.MAX_WIDTH, 0.4);
    double eps = config.positive("layer_norm_eps", 1e-5);
    if (!config.flag("memory_compression", true)) {
      plan.spec().setFinalNorm(norm);
      plan.bind("norm.weight", Slot.FINAL_NORM, hidden);
      return;
    }
    String prefix = "memory_compression.";
    // Where both are known, the stored shape decides: writers may have rounded the product.
    double size =
        config
            .storedShape(prefix + "encoder.weight")
            .filter(shape -> !shape.isEmpty())
            .map(shape -> (double) shape.get(0))
            .orElse(Math.floor(hidden * ratio));
    if (!(size >= 1 && size <= Sizes.MAX_WIDTH)) {
      throw config.bad(
          "memory_compression_ratio", "1 to " + Sizes.MAX_WIDTH + " of " + hidden + " columns");
    }
    int compressed = (int) size;
    plan.spec()
        .setCompression(
            CompressionSpec.newBuilder()
                .setCompressedSize(compressed)
                .setActivation(GELU)
                .setNorm(
                    NormSpec.newBuilder()
                        .setKind(NormKind.LAYER_NORM)
                        .setEps(eps)
                        .setHasBias(true)));
    plan.bind(prefix + "encoder.weight", Slot.COMPRESSION_ENCODER, compressed, hidden);
    plan.bind(prefix + "encoder.bias", Slot.COMPRESSION_ENCODER_BIAS, compressed);
    plan.bind(prefix + "decoder.weight", Slot.COMPRESSION_DECODER, hidden, compressed);
    plan.bind(prefix + "decoder.bias", Slot.COMPRESSION_DECODER_BIAS, hidden);
    plan.bind(prefix + "ln.weight", Slot.COMPRESSION_NORM, hidden);
    plan.bind(prefix + "ln.bias", Slot.COMPRESSION_NORM_BIAS, hidden);
  }

  /** Generation comes first whatever the order of the setting: heads are numbered by it. */
  private static void addHeads(ModelConfig config, DecoderPlan plan) {
    List<String> names = config.texts("task_heads").orElse(List.of("generation"));
    for (String name : names) {
      if (!List.of("generation", "classification", "reasoning").contains(name)) {
        throw config.unsupported("task_heads", "generation, classification or reasoning");
      }
    }
    if (!names.contains("generation")) {
      throw config.bad("task_heads", "generation among them");
    }
    plan.addGenerationHead("heads.generation.weight", config.flag("tie_word_embeddings", false));
    long hidden = plan.hiddenSize();
    int labels = config.integer("num_labels", 0, Sizes.MAX_VOCAB, 0);
    if (names.contains("classification")) {
      if (labels == 0) {
        throw config.bad("num_labels", "at least 1, since task_heads names classification");
      }
      int head =
          plan.addHead(
              HeadSpec.newBuilder()
                  .setKind(HeadKind.CLASSIFICATION)
                  .setName("classification")
                  .setNumLabels(labels)
                  .setBias(true));
      plan.bindHead(head, "heads.classification.weight", Slot.HEAD, labels, hidden);
      plan.bindHead(head, "heads.classification.bias", Slot.HEAD_BIAS, labels);
    }
    if (names.contains("reasoning")) {
      int head =
          plan.addHead(
              HeadSpec.newBuilder()
                  .setKind(HeadKind.REASONING)
                  .setName("reasoning")
                  .setActivation(GELU)
                  .setBias(true));
      plan.bindHead(head, "heads.reasoning.weight", Slot.HEAD_TRANSFORM, hidden, hidden);
      plan.bindHead(head, "heads.reasoning.bias", Slot.HEAD_TRANSFORM_BIAS, hidden);
    }
  }
}

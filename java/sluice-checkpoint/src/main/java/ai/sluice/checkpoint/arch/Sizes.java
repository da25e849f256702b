package ai.sluice.checkpoint.arch;

/**
 * The sizes that every decoder with grouped-query attention has. The caps lie far above any
 * published model; they keep a damaged config from asking for absurd amounts of work.
 *
 * @param vocabSize rows of the embedding
 * @param hiddenSize width of the residual stream
 * @param intermediateSize width of the dense feed-forward
 * @param numLayers decoder layers
 * @param numQHeads query heads
 * @param numKvHeads key and value heads; divides numQHeads
 * @param headDim columns of a head
 * @param maxPositions positions the model was made for
 * @param normEps epsilon of the norms
 */
record Sizes(
    int vocabSize,
    int hiddenSize,
    int intermediateSize,
    int numLayers,
    int numQHeads,
    int numKvHeads,
    int headDim,
    int maxPositions,
    double normEps) {
  static final int MAX_LAYERS = 1024;
  static final int MAX_VOCAB = 1 << 24;
  static final int MAX_WIDTH = 1 << 22;
  static final int MAX_HEADS = 1 << 14;
  static final int MAX_HEAD_DIM = 1 << 14;
  static final int MAX_POSITIONS = 1 << 30;

  /** What a family assumes where a config is silent. */
  record Defaults(int numKvHeads, int headDim, int maxPositions, double normEps) {
    /** As many key and value heads as query heads. */
    static final int AS_QUERY_HEADS = 0;

    /** hidden_size / num_attention_heads. */
    static final int HIDDEN_OVER_HEADS = 0;
  }

  /** Reads and checks the sizes. */
  static Sizes read(ModelConfig config, Defaults defaults) {
    int hiddenSize = config.integer("hidden_size", 1, MAX_WIDTH);
    int numQHeads = config.integer("num_attention_heads", 1, MAX_HEADS);
    // The reference loaders take an explicit null as "one per query head", also where an absent
    // key means another number.
    boolean asQueryHeads =
        defaults.numKvHeads() == Defaults.AS_QUERY_HEADS || config.isNull("num_key_value_heads");
    int assumedKvHeads = asQueryHeads ? numQHeads : defaults.numKvHeads();
    int numKvHeads = config.integer("num_key_value_heads", 1, MAX_HEADS, assumedKvHeads);
    if (numQHeads % numKvHeads != 0) {
      throw config.bad("num_key_value_heads", "a divisor of num_attention_heads, " + numQHeads);
    }
    return new Sizes(
        config.integer("vocab_size", 1, MAX_VOCAB),
        hiddenSize,
        config.integer("intermediate_size", 1, MAX_WIDTH),
        config.integer("num_hidden_layers", 1, MAX_LAYERS),
        numQHeads,
        numKvHeads,
        headDim(config, defaults, hiddenSize, numQHeads),
        config.integer("max_position_embeddings", 1, MAX_POSITIONS, defaults.maxPositions()),
        config.positive("rms_norm_eps", defaults.normEps()));
  }

  private static int headDim(ModelConfig config, Defaults defaults, int hiddenSize, int numQHeads) {
    if (!config.has("head_dim") && defaults.headDim() == Defaults.HIDDEN_OVER_HEADS) {
      if (hiddenSize % numQHeads != 0) {
        throw config.bad(
            "hidden_size",
            "a multiple of num_attention_heads, " + numQHeads + ", since head_dim is not given");
      }
      return hiddenSize / numQHeads;
    }
    return config.integer("head_dim", 1, MAX_HEAD_DIM, defaults.headDim());
  }
}

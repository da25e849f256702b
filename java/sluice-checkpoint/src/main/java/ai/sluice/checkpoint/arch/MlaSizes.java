package ai.sluice.checkpoint.arch;

/**
 * The sizes of a decoder with multi-head latent attention. The caps are those of {@link Sizes}.
 *
 * @param vocabSize rows of the embedding
 * @param hiddenSize width of the residual stream
 * @param intermediateSize width of a dense feed-forward
 * @param numLayers decoder layers
 * @param numQHeads heads
 * @param qLoraRank width of the query's latent; 0: queries are not compressed
 * @param kvLoraRank width of the latent that the cache keeps
 * @param qkNopeHeadDim columns of a head's query and key that do not turn
 * @param qkRopeHeadDim columns that do
 * @param vHeadDim columns of a head's value
 * @param maxPositions positions the model was made for
 * @param normEps epsilon of the norms
 */
record MlaSizes(
    int vocabSize,
    int hiddenSize,
    int intermediateSize,
    int numLayers,
    int numQHeads,
    int qLoraRank,
    int kvLoraRank,
    int qkNopeHeadDim,
    int qkRopeHeadDim,
    int vHeadDim,
    int maxPositions,
    double normEps) {
  private static final int Q_LORA_RANK = 1536;
  private static final int KV_LORA_RANK = 512;
  private static final int NOPE_HEAD_DIM = 128;
  private static final int ROPE_HEAD_DIM = 64;
  private static final int V_HEAD_DIM = 128;

  /** Reads and checks the sizes; {@code maxPositions} is the family's default. */
  static MlaSizes read(ModelConfig config, int maxPositions) {
    int heads = config.integer("num_attention_heads", 1, Sizes.MAX_HEADS);
    // Every head has a key of its own, made from the shared latent.
    if (config.integer("num_key_value_heads", 1, Sizes.MAX_HEADS, heads) != heads) {
      throw config.bad("num_key_value_heads", heads + ", as num_attention_heads says");
    }
    // Null is how configs say that there is no compression; a silent one means the usual rank.
    int assumedRank = config.isNull("q_lora_rank") ? 0 : Q_LORA_RANK;
    return new MlaSizes(
        config.integer("vocab_size", 1, Sizes.MAX_VOCAB),
        config.integer("hidden_size", 1, Sizes.MAX_WIDTH),
        config.integer("intermediate_size", 1, Sizes.MAX_WIDTH),
        config.integer("num_hidden_layers", 1, Sizes.MAX_LAYERS),
        heads,
        config.integer("q_lora_rank", 1, Sizes.MAX_HEAD_DIM, assumedRank),
        config.integer("kv_lora_rank", 1, Sizes.MAX_HEAD_DIM, KV_LORA_RANK),
        config.integer("qk_nope_head_dim", 1, Sizes.MAX_HEAD_DIM, NOPE_HEAD_DIM),
        config.integer("qk_rope_head_dim", 1, Sizes.MAX_HEAD_DIM, ROPE_HEAD_DIM),
        config.integer("v_head_dim", 1, Sizes.MAX_HEAD_DIM, V_HEAD_DIM),
        config.integer("max_position_embeddings", 1, Sizes.MAX_POSITIONS, maxPositions),
        config.positive("rms_norm_eps", 1e-6));
  }
}

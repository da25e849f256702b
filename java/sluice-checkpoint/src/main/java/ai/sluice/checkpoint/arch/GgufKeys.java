package ai.sluice.checkpoint.arch;

/**
 * Settings that only GGUF files imply, under names of our own beside the Hugging Face ones. The
 * reader of GGUF metadata sets them; config.json files do not have them.
 */
public final class GgufKeys {
  /** True for every GGUF file. */
  public static final String IS_GGUF = "gguf.is_gguf";

  /** True where q and k are stored permuted, so that RoPE pairs are (2p, 2p + 1). */
  public static final String ROPE_INTERLEAVED = "gguf.rope_interleaved";

  /** One divisor per inverse frequency: the values of rope_freqs.weight. */
  public static final String ROPE_FREQUENCY_FACTORS = "gguf.rope_frequency_factors";

  /** True where the second projection of an MLA latent is stored as k_b and v_b. */
  public static final String MLA_SPLIT_KV_B = "gguf.mla_split_kv_b";

  private GgufKeys() {}
}

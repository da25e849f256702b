package ai.sluice.checkpoint;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.checkpoint.arch.GgufKeys;
import ai.sluice.checkpoint.io.Quote;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import java.util.Map;

/**
 * What GGUF files of models with experts or latent attention say differently from config.json:
 * their keys, and what their architecture means without saying it.
 */
final class GgufMixtures {
  /** GGUF key after the architecture's prefix -> Hugging Face key. */
  static final ImmutableMap<String, String> KEYS =
      ImmutableMap.<String, String>builder()
          .put("expert_count", "num_experts")
          .put("expert_used_count", "num_experts_per_tok")
          .put("expert_feed_forward_length", "moe_intermediate_size")
          .put("expert_shared_count", "n_shared_experts")
          .put("leading_dense_block_count", "first_k_dense_replace")
          .put("expert_weights_scale", "routed_scaling_factor")
          .put("expert_weights_norm", "norm_topk_prob")
          .put("expert_gating_func", "scoring_func")
          .put("expert_group_count", "n_group")
          .put("expert_group_used_count", "topk_group")
          .put("attention.q_lora_rank", "q_lora_rank")
          .put("attention.kv_lora_rank", "kv_lora_rank")
          .put("nextn_predict_layers", "num_nextn_predict_layers")
          .buildOrThrow();

  /** Keys that {@link #settleLatent} reads. */
  static final ImmutableSet<String> LATENT =
      ImmutableSet.of("attention.key_length_mla", "attention.value_length_mla");

  private static final ImmutableMap<Long, String> GATING =
      ImmutableMap.of(1L, "softmax", 2L, "sigmoid");

  private final GgufMetadata metadata;
  private final TensorDirectory tensors;
  private final String prefix;
  private final ObjectNode settings;
  private final Map<String, String> spelling;

  GgufMixtures(GgufFile file, String prefix, ObjectNode settings, Map<String, String> spelling) {
    this.metadata = file.metadata();
    this.tensors = file.tensors();
    this.prefix = prefix;
    this.settings = settings;
    this.spelling = spelling;
  }

  /** Settles what the architecture implies. */
  void settle(String architecture) {
    settleGating();
    switch (architecture) {
      // Its usual files do not say it; all its models do so.
      case "qwen3moe" -> putIfAbsent("norm_topk_prob", true);
      case "gpt-oss" -> settings.put("attention_bias", has("blk.0.attn_q.bias"));
      case "deepseek2" -> {
        // Written only where they are so; the families' config.json means otherwise.
        putIfAbsent("norm_topk_prob", false);
        if (!settings.has("routed_scaling_factor")) {
          settings.put("routed_scaling_factor", 1.0);
        }
        if (!settings.has("first_k_dense_replace")) {
          settings.put("first_k_dense_replace", 0);
        }
        boolean groups = settings.path("n_group").asLong(1) > 1;
        boolean softmax = settings.path("scoring_func").asText("softmax").equals("softmax");
        if (groups && softmax) {
          settings.put("topk_method", "group_limited_greedy");
        }
      }
      default -> {}
    }
  }

  private void putIfAbsent(String key, boolean value) {
    if (!settings.has(key)) {
      settings.put(key, value);
    }
  }

  private boolean has(String tensor) {
    return tensors.find(tensor).isPresent();
  }

  /** A number of an enumeration; one that is not known goes through for the family to refuse. */
  private void settleGating() {
    String key = "scoring_func";
    if (settings.has(key)) {
      long number = settings.get(key).asLong();
      settings.put(key, GATING.getOrDefault(number, String.valueOf(number)));
    }
  }

  /**
   * The head sizes of latent attention. Newer files give the sizes of the heads as they are
   * computed with; older ones only those of the decompressed heads.
   */
  void settleLatent() {
    long rope = required("rope.dimension_count");
    boolean newer = metadata.has(prefix + "attention.key_length_mla");
    String keyLength = newer ? "attention.key_length_mla" : "attention.key_length";
    String valueLength = newer ? "attention.value_length_mla" : "attention.value_length";
    long nope = required(keyLength) - rope;
    if (nope < 1) {
      throw new CheckpointFormatException(
          metadata.file(),
          Quote.clip(prefix + keyLength),
          metadata.describe(prefix + keyLength)
              + " (expected: more than "
              + rope
              + ", the columns that turn)");
    }
    put("qk_rope_head_dim", rope, "rope.dimension_count");
    put("qk_nope_head_dim", nope, keyLength);
    put("v_head_dim", required(valueLength), valueLength);
    // Newer files count the one latent, older ones the heads that are made from it.
    settings.remove("num_key_value_heads");
    settings.remove("head_dim");
    if (!settings.has("q_lora_rank")) {
      settings.putNull("q_lora_rank");
    }
    settings.put(GgufKeys.ROPE_INTERLEAVED, true);
    settings.put(GgufKeys.MLA_SPLIT_KV_B, has("blk.0.attn_k_b.weight"));
  }

  private long required(String key) {
    return metadata
        .integer(prefix + key)
        .orElseThrow(
            () ->
                new CheckpointFormatException(
                    metadata.file(),
                    Quote.clip(prefix + key),
                    "missing (expected: a number, for latent attention)"));
  }

  private void put(String name, long value, String key) {
    settings.put(name, value);
    spelling.put(name, prefix + key);
  }
}

package ai.sluice.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.checkpoint.arch.ModelPlan;
import ai.sluice.proto.ModelSpec;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Settings in the words of published models: none of them may trip over the policy on keys. */
class PublishedConfigsTest {
  private static ModelSpec accept(String config) {
    ModelPlan plan = TestModels.plan(TestModels.json(config));
    assertEquals(List.of(), plan.notes());
    return plan.spec();
  }

  private static long parameters(String config) {
    return TestModels.shapes(TestModels.json(config)).values().stream()
        .mapToLong(shape -> shape.stream().reduce(1L, (a, b) -> a * b))
        .sum();
  }

  @Test
  void smolLm2() {
    String config =
        """
        {"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
         "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 576,
         "initializer_range": 0.041666666666666664, "intermediate_size": 1536,
         "is_llama_config": true, "max_position_embeddings": 8192, "mlp_bias": false,
         "model_type": "llama", "num_attention_heads": 9, "num_hidden_layers": 30,
         "num_key_value_heads": 3, "pad_token_id": 2, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
         "rope_interleaved": false, "rope_scaling": null, "rope_theta": 100000,
         "tie_word_embeddings": true, "torch_dtype": "bfloat16",
         "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16", "fp16": "float16"}},
         "transformers_version": "4.42.3", "use_cache": true, "vocab_size": 49152}
        """;
    assertEquals(64, accept(config).getLayers(0).getGqa().getHeadDim());
    assertEquals(134_515_008, parameters(config));
  }

  @Test
  void llama32() {
    String config =
        """
        {"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
         "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "head_dim": 64,
         "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02,
         "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": false,
         "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 16,
         "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
         "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
         "original_max_position_embeddings": 8192, "rope_type": "llama3"}, "rope_theta": 500000.0,
         "tie_word_embeddings": true, "torch_dtype": "bfloat16",
         "transformers_version": "4.45.0.dev0", "use_cache": true, "vocab_size": 128256}
        """;
    assertEquals(131_072, accept(config).getMaxContextLen());
    assertEquals(1_235_814_400, parameters(config));
  }

  @Test
  void mistral7b() {
    String config =
        """
        {"architectures": ["MistralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2,
         "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
         "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mistral",
         "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
         "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 4096,
         "tie_word_embeddings": false, "torch_dtype": "bfloat16",
         "transformers_version": "4.34.0.dev0", "use_cache": true, "vocab_size": 32000}
        """;
    assertEquals(4096, accept(config).getKvGroups(0).getWindow());
    assertEquals(7_241_732_096L, parameters(config));
  }

  @Test
  void qwen25() {
    String config =
        """
        {"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
         "eos_token_id": 151645, "hidden_act": "silu", "hidden_size": 896,
         "initializer_range": 0.02, "intermediate_size": 4864, "max_position_embeddings": 32768,
         "max_window_layers": 21, "model_type": "qwen2", "num_attention_heads": 14,
         "num_hidden_layers": 24, "num_key_value_heads": 2, "rms_norm_eps": 1e-06,
         "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": true,
         "torch_dtype": "bfloat16", "transformers_version": "4.43.1", "use_cache": true,
         "use_sliding_window": false, "vocab_size": 151936}
        """;
    assertEquals(1, accept(config).getKvGroupsCount());
    assertEquals(494_032_768, parameters(config));
  }

  @Test
  void qwen3() {
    String config =
        """
        {"architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
         "bos_token_id": 151643, "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu",
         "hidden_size": 1024, "initializer_range": 0.02, "intermediate_size": 3072,
         "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3",
         "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8,
         "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000,
         "sliding_window": null, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
         "transformers_version": "4.51.0", "use_cache": true, "use_sliding_window": false,
         "vocab_size": 151936}
        """;
    assertEquals(128, accept(config).getLayers(0).getGqa().getHeadDim());
    assertEquals(596_049_920, parameters(config));
  }

  @Test
  void mixtral8x7b() {
    String config =
        """
        {"architectures": ["MixtralForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 1,
         "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
         "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mixtral",
         "num_attention_heads": 32, "num_experts_per_tok": 2, "num_hidden_layers": 32,
         "num_key_value_heads": 8, "num_local_experts": 8, "output_router_logits": false,
         "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.02,
         "sliding_window": null, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
         "transformers_version": "4.36.0.dev0", "use_cache": true, "vocab_size": 32000}
        """;
    assertEquals(8, accept(config).getLayers(31).getMoe().getNumExperts());
    assertEquals(46_702_792_704L, parameters(config));
  }

  @Test
  void qwen3a3b() {
    String config =
        """
        {"architectures": ["Qwen3MoeForCausalLM"], "attention_bias": false,
         "attention_dropout": 0.0, "bos_token_id": 151643, "decoder_sparse_step": 1,
         "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu", "hidden_size": 2048,
         "initializer_range": 0.02, "intermediate_size": 6144, "max_position_embeddings": 40960,
         "max_window_layers": 48, "mlp_only_layers": [], "model_type": "qwen3_moe",
         "moe_intermediate_size": 768, "norm_topk_prob": true, "num_attention_heads": 32,
         "num_experts": 128, "num_experts_per_tok": 8, "num_hidden_layers": 48,
         "num_key_value_heads": 4, "output_router_logits": false, "rms_norm_eps": 1e-06,
         "rope_scaling": null, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.001,
         "sliding_window": null, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
         "transformers_version": "4.51.0", "use_cache": true, "use_sliding_window": false,
         "vocab_size": 151936}
        """;
    assertEquals(1, accept(config).getKvGroupsCount());
    assertEquals(30_532_122_624L, parameters(config));
  }

  @Test
  void qwen15a27b() {
    String config =
        """
        {"architectures": ["Qwen2MoeForCausalLM"], "attention_dropout": 0.0,
         "bos_token_id": 151643, "decoder_sparse_step": 1, "eos_token_id": 151643,
         "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02,
         "intermediate_size": 5632, "max_position_embeddings": 8192, "max_window_layers": 21,
         "model_type": "qwen2_moe", "moe_intermediate_size": 1408, "norm_topk_prob": false,
         "num_attention_heads": 16, "num_experts": 60, "num_experts_per_tok": 4,
         "num_hidden_layers": 24, "num_key_value_heads": 16, "output_router_logits": false,
         "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.001,
         "shared_expert_intermediate_size": 5632, "sliding_window": 32768,
         "tie_word_embeddings": false, "torch_dtype": "bfloat16",
         "transformers_version": "4.39.0.dev0", "use_cache": true, "use_sliding_window": false,
         "vocab_size": 151936}
        """;
    assertTrue(accept(config).getLayers(0).getMoe().getSharedGate());
    assertEquals(14_315_784_192L, parameters(config));
  }

  private static final String DEEPSEEK_V2_LITE =
      """
      {"architectures": ["DeepseekV2ForCausalLM"], "attention_bias": false,
       "attention_dropout": 0.0, "auto_map": {"AutoConfig": "configuration_deepseek.A",
       "AutoModel": "modeling_deepseek.B", "AutoModelForCausalLM": "modeling_deepseek.C"},
       "aux_loss_alpha": 0.001, "bos_token_id": 100000, "eos_token_id": 100001,
       "first_k_dense_replace": 1, "hidden_act": "silu", "hidden_size": 2048,
       "initializer_range": 0.02, "intermediate_size": 10944, "kv_lora_rank": 512,
       "max_position_embeddings": 163840, "model_type": "deepseek_v2",
       "moe_intermediate_size": 1408, "moe_layer_freq": 1, "n_group": 1, "n_routed_experts": 64,
       "n_shared_experts": 2, "norm_topk_prob": false, "num_attention_heads": 16,
       "num_experts_per_tok": 6, "num_hidden_layers": 27, "num_key_value_heads": 16,
       "pretraining_tp": 1, "q_lora_rank": null, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
       "rms_norm_eps": 1e-06, "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40,
       "mscale": 0.707, "mscale_all_dim": 0.707, "original_max_position_embeddings": 4096,
       "type": "yarn"}, "rope_theta": 10000, "routed_scaling_factor": 1.0,
       "scoring_func": "softmax", "seq_aux": true, "tie_word_embeddings": false, "topk_group": 1,
       "topk_method": "greedy", "torch_dtype": "bfloat16", "transformers_version": "4.33.1",
       "use_cache": true, "v_head_dim": 128, "vocab_size": 102400}
      """;

  @Test
  void deepseekV2Lite() {
    ModelSpec spec = accept(DEEPSEEK_V2_LITE);
    assertEquals(0, spec.getLayers(0).getMla().getQLoraRank());
    assertEquals(163_840, spec.getMaxContextLen());
    assertEquals(2816, spec.getLayers(1).getMoe().getShared().getIntermediateSize());
    // The known value of the softmax scale's factor at 40 times the context.
    assertEquals(0.1147213867929261, spec.getLayers(1).getMla().getSoftmaxScale(), 1e-12);
    assertEquals(15_706_484_224L, parameters(DEEPSEEK_V2_LITE));
  }

  @Test
  void deepseekV2() {
    String config =
        TestModels.with(
                DEEPSEEK_V2_LITE,
                """
                "hidden_size": 5120, "intermediate_size": 12288, "moe_intermediate_size": 1536,
                "n_group": 8, "n_routed_experts": 160, "num_attention_heads": 128,
                "num_hidden_layers": 60, "num_key_value_heads": 128, "q_lora_rank": 1536,
                "routed_scaling_factor": 16.0, "topk_group": 3,
                "topk_method": "group_limited_greedy", "ep_size": 1
                """)
            .toString();
    assertEquals(3, accept(config).getLayers(59).getMoe().getNumGroupsPerToken());
    assertEquals(235_741_434_880L, parameters(config));
  }

  @Test
  void deepseekV3AndR1() {
    String config =
        """
        {"architectures": ["DeepseekV3ForCausalLM"], "attention_bias": false,
         "attention_dropout": 0.0, "auto_map": {"AutoConfig": "configuration_deepseek.A",
         "AutoModel": "modeling_deepseek.B", "AutoModelForCausalLM": "modeling_deepseek.C"},
         "bos_token_id": 0, "eos_token_id": 1, "ep_size": 1, "first_k_dense_replace": 3,
         "hidden_act": "silu", "hidden_size": 7168, "initializer_range": 0.02,
         "intermediate_size": 18432, "kv_lora_rank": 512, "max_position_embeddings": 163840,
         "model_type": "deepseek_v3", "moe_intermediate_size": 2048, "moe_layer_freq": 1,
         "n_group": 8, "n_routed_experts": 256, "n_shared_experts": 1, "norm_topk_prob": true,
         "num_attention_heads": 128, "num_experts_per_tok": 8, "num_hidden_layers": 61,
         "num_key_value_heads": 128, "num_nextn_predict_layers": 1, "q_lora_rank": 1536,
         "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "quantization_config":
         {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
         "weight_block_size": [128, 128]}, "rms_norm_eps": 1e-06, "rope_scaling":
         {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0,
         "original_max_position_embeddings": 4096, "type": "yarn"}, "rope_theta": 10000,
         "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "tie_word_embeddings": false,
         "topk_group": 4, "topk_method": "noaux_tc", "torch_dtype": "bfloat16",
         "transformers_version": "4.33.1", "use_cache": true, "v_head_dim": 128,
         "vocab_size": 129280}
        """;
    ModelSpec spec = accept(config);
    assertEquals(58, spec.getLayersList().stream().filter(layer -> layer.hasMoe()).count());
    // Both writings of R1's config add keys of training and of a newer schema.
    accept(TestModels.with(config, "\"aux_loss_alpha\": 0.001, \"seq_aux\": true").toString());
    accept(TestModels.with(config, "\"dtype\": \"bfloat16\", \"head_dim\": 64").toString());
    assertEquals(671_026_419_200L, parameters(config));
  }

  private static String gptOss(int layers, int experts) {
    List<String> types = new ArrayList<>();
    for (int i = 0; i < layers; i++) {
      types.add(i % 2 == 0 ? "\"sliding_attention\"" : "\"full_attention\"");
    }
    return """
    {"architectures": ["GptOssForCausalLM"], "attention_bias": true,
     "attention_dropout": 0.0, "eos_token_id": 200002, "experts_per_token": 4,
     "head_dim": 64, "hidden_act": "silu", "hidden_size": 2880,
     "initial_context_length": 4096, "initializer_range": 0.02, "intermediate_size": 2880,
     "layer_types": [%s], "max_position_embeddings": 131072, "model_type": "gpt_oss",
     "num_attention_heads": 64, "num_experts_per_tok": 4, "num_hidden_layers": %d,
     "num_key_value_heads": 8, "num_local_experts": %d, "output_router_logits": false,
     "pad_token_id": 199999, "quantization_config": {"modules_to_not_convert":
     ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens",
     "lm_head"], "quant_method": "mxfp4"}, "rms_norm_eps": 1e-05, "rope_scaling":
     {"beta_fast": 32.0, "beta_slow": 1.0, "factor": 32.0,
     "original_max_position_embeddings": 4096, "rope_type": "yarn", "truncate": false},
     "rope_theta": 150000, "router_aux_loss_coef": 0.9, "sliding_window": 128,
     "swiglu_limit": 7.0, "tie_word_embeddings": false,
     "transformers_version": "4.55.0.dev0", "use_cache": true, "vocab_size": 201088}
    """
        .formatted(String.join(", ", types), layers, experts);
  }

  @Test
  void gptOss() {
    ModelSpec small = accept(gptOss(24, 32));
    assertEquals(2, small.getKvGroupsCount());
    assertEquals(131_072, small.getMaxContextLen());
    assertEquals(1.3465735902799727, small.getRopes(0).getVariants(0).getAttentionScale(), 1e-15);
    assertEquals(20_914_757_184L, parameters(gptOss(24, 32)));
    accept(gptOss(36, 128));
    assertEquals(116_829_156_672L, parameters(gptOss(36, 128)));
  }

  @Test
  void deepseekMoe16b() {
    String config =
        """
        {"architectures": ["DeepseekForCausalLM"], "attention_bias": false,
         "attention_dropout": 0.0, "auto_map": {"AutoConfig": "configuration_deepseek.A",
         "AutoModel": "modeling_deepseek.B", "AutoModelForCausalLM": "modeling_deepseek.C"},
         "aux_loss_alpha": 0.001, "bos_token_id": 100000, "eos_token_id": 100001,
         "first_k_dense_replace": 1, "hidden_act": "silu", "hidden_size": 2048,
         "initializer_range": 0.02, "intermediate_size": 10944, "max_position_embeddings": 4096,
         "model_type": "deepseek", "moe_intermediate_size": 1408, "moe_layer_freq": 1,
         "n_routed_experts": 64, "n_shared_experts": 2, "norm_topk_prob": false,
         "num_attention_heads": 16, "num_experts_per_tok": 6, "num_hidden_layers": 28,
         "num_key_value_heads": 16, "pretraining_tp": 1, "rms_norm_eps": 1e-06,
         "rope_scaling": null, "rope_theta": 10000, "scoring_func": "softmax", "seq_aux": true,
         "tie_word_embeddings": false, "torch_dtype": "bfloat16",
         "transformers_version": "4.36.0", "use_cache": true, "vocab_size": 102400}
        """;
    assertEquals(27, accept(config).getLayersList().stream().filter(l -> l.hasMoe()).count());
    assertEquals(16_375_728_128L, parameters(config));
  }

  @Test
  void deepseekLlmIsALlama() {
    String config =
        """
        {"architectures": ["LlamaForCausalLM"], "bos_token_id": 100000, "eos_token_id": 100001,
         "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
         "intermediate_size": 11008, "max_position_embeddings": 4096, "model_type": "llama",
         "num_attention_heads": 32, "num_hidden_layers": 30, "num_key_value_heads": 32,
         "pretraining_tp": 1, "rms_norm_eps": 1e-06, "rope_scaling": null,
         "rope_theta": 10000.0, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
         "transformers_version": "4.33.1", "use_cache": true, "vocab_size": 102400}
        """;
    assertEquals(32, accept(config).getLayers(0).getGqa().getNumKvHeads());
    assertEquals(6_910_365_696L, parameters(config));
  }
}

package ai.sluice.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.SluiceException;
import ai.sluice.api.UnsupportedModelException;
import ai.sluice.checkpoint.arch.ModelPlan;
import ai.sluice.proto.MlaSpec;
import ai.sluice.proto.ModelSpec;
import ai.sluice.proto.MoeSpec;
import ai.sluice.proto.RouterScore;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Settings of the families with experts: spellings, defaults, what is honoured or refused. */
class MoeConfigTest {
  /** The config of a fixture, to be changed. */
  private static ObjectNode config(String fixture) {
    try {
      return TestModels.json(Files.readString(Fixtures.folder(fixture).resolve("config.json")));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static ObjectNode with(String fixture, String key, String value) {
    ObjectNode config = config(fixture);
    ObjectNode at = config;
    String[] path = key.split("/");
    for (int i = 0; i < path.length - 1; i++) {
      at = (ObjectNode) at.get(path[i]);
    }
    if (value.equals("(absent)")) {
      at.remove(path[path.length - 1]);
      return config;
    }
    JsonNode node = TestModels.json("{\"v\":" + value + "}").get("v");
    at.set(path[path.length - 1], node);
    return config;
  }

  private static ModelPlan plan(String fixture, String key, String value) {
    return TestModels.plan(with(fixture, key, value));
  }

  private static MoeSpec moe(ModelSpec spec) {
    return spec.getLayers(spec.getLayersCount() - 1).getMoe();
  }

  private static void refuses(
      Class<? extends SluiceException> type,
      String fixture,
      String key,
      String value,
      String text) {
    String message = assertThrows(type, () -> plan(fixture, key, value)).getMessage();
    assertTrue(message.startsWith("config.json: " + text), message);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "mixtral | num_experts_per_tok | 9 | num_experts_per_tok: 9 (expected: at most the number"
            + " of experts, 8)",
        "mixtral | num_local_experts | 0 | num_local_experts: 0 (expected: 1 to 65536)",
        "mixtral | num_local_experts | 1 | num_experts_per_tok: 2 (expected: at most the",
        "mixtral | num_experts | 4 | num_experts: 4 (expected: 8, as num_local_experts says)",
        "qwen3_moe | num_experts_per_tok | 0 | num_experts_per_tok: 0 (expected: 1 to",
        "qwen3_moe | moe_intermediate_size | -1 | moe_intermediate_size: -1 (expected: 1 to",
        "qwen3_moe | decoder_sparse_step | 0 | decoder_sparse_step: 0 (expected: 1 to",
        "qwen3_moe | mlp_only_layers | [0.5] | mlp_only_layers: [0.5] (expected: an array of whole",
        "qwen3_moe | norm_topk_prob | 1 | norm_topk_prob: 1 (expected: true or false)",
        "deepseek_v2_grouped | n_group | 3 | n_group: 3 (expected: a divisor of the number of"
            + " experts, 8)",
        "deepseek_v2_grouped | n_group | (absent) | n_group: missing (expected: 1 to 8)",
        "deepseek_v2_grouped | topk_group | 5 | topk_group: 5 (expected: 1 to 4)",
        "deepseek_v2_grouped | topk_group | 1 | topk_group: 1 (expected: enough groups of 2"
            + " experts for the 3 of a token)",
        "deepseek_v3 | n_group | 8 | n_group: 8 (expected: at most 4, since the best two",
        "deepseek_v3 | num_key_value_heads | 2 | num_key_value_heads: 2 (expected: 4, as",
        "deepseek_v3 | kv_lora_rank | 0 | kv_lora_rank: 0 (expected: 1 to",
        "deepseek_v3 | q_lora_rank | 0 | q_lora_rank: 0 (expected: 1 to",
        "deepseek_v3 | qk_rope_head_dim | 7 | qk_rope_head_dim: 7 (expected: an even number",
        "deepseek_v3 | n_shared_experts | 1000000 | n_shared_experts: 1000000 (expected: 0 to",
        "deepseek_v3 | rope_scaling/factor | 0.5 | rope_scaling.factor: 0.5 (expected: at least 1",
        "deepseek_v3 | rope_scaling/beta_slow | 64 | rope_scaling.beta_fast: 32 (expected: more",
        "deepseek_v3 | rope_theta | 1 | rope_theta: 1.0 (expected: more than 1, for YaRN)",
        "deepseek_v3 | quantization_config | {\"quant_method\":\"fp8\",\"weight_block_size\":[128]}"
            + " | quantization_config.weight_block_size: [128] (expected: two numbers",
        "gpt_oss | layer_types | [\"full_attention\"] | layer_types: [\"full_attention\"]"
            + " (expected: 2 entries",
        "gpt_oss | swiglu_limit | 0 | swiglu_limit: 0 (expected: a number above 0)",
        "gpt_oss | experts_per_token | 3 | experts_per_token: 3 (expected: 2, as num_experts_per",
        "adaptive_moe | hidden_size | 66 | hidden_size: 66 (expected: a multiple of num_attention",
        "adaptive_moe | attention_types | [\"full\"] | attention_types: [\"full\"] (expected: 2"
            + " entries, one per layer)",
        "adaptive_moe | attention_types | (absent) | attention_types: absent (expected: 2 entries",
        "adaptive_moe | moe_top_k | 9 | moe_top_k: 9 (expected: at most the number of experts, 8)",
        "adaptive_moe | moe_top_k | (absent) | moe_top_k: missing (expected: 1 to",
        "adaptive_moe | expert_capacity | 0 | expert_capacity: 0 (expected: 1 to",
        "adaptive_moe | capacity_window | -1 | capacity_window: -1 (expected: 1 to",
        "adaptive_moe | sparse_gate_threshold | 1.5 | sparse_gate_threshold: 1.5 (expected: a"
            + " number from 0.0 to 1.0)",
        "adaptive_moe | density_threshold | -0.1 | density_threshold: -0.1 (expected: a number",
        "adaptive_moe | block_keep_percent | 101 | block_keep_percent: 101 (expected: 0 to 100)",
        "adaptive_moe | block_keep_percent | 30.5 | block_keep_percent: 30.5 (expected: 0 to 100)",
        "adaptive_moe | num_local_blocks | 0 | num_local_blocks: 0 (expected: 1 to",
        "adaptive_moe | attention_top_k | 0 | attention_top_k: 0 (expected: 1 to",
        "adaptive_moe | relative_positions | 0 | relative_positions: 0 (expected: 1 to",
        "adaptive_moe | random_block_seed | 0.5 | random_block_seed: 0.5 (expected: a whole",
        "adaptive_moe | memory_compression_ratio | 0.001 | memory_compression_ratio: 0.001"
            + " (expected: 1 to",
        "adaptive_moe | num_labels | 0 | num_labels: 0 (expected: at least 1, since task_heads",
        "adaptive_moe | task_heads | [\"reasoning\"] | task_heads: [\"reasoning\"] (expected:"
            + " generation among them)"
      })
  void refusesSettingsThatContradictThemselves(
      String fixture, String key, String value, String text) {
    refuses(CheckpointFormatException.class, fixture, key, value, text);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "mixtral | rope_scaling | {\"type\":\"longrope\"} | rope_scaling.type: longrope (expected:"
            + " default, linear, dynamic, llama3 or yarn)",
        "mixtral | quantization_config | {\"quant_method\":\"awq\",\"bits\":4} |"
            + " quantization_config.quant_method: awq (expected: fp8 or mxfp4;",
        "mixtral | quantization_config | {\"quant_method\":\"gptq\"} |"
            + " quantization_config.quant_method: gptq",
        "mixtral | n_shared_experts | 1 | n_shared_experts: 1 (expected: absent",
        "qwen3_moe | shared_expert_intermediate_size | 8 | shared_expert_intermediate_size: 8",
        "qwen3_moe | layer_types | [\"chunked_attention\",\"full_attention\"] | layer_types:",
        "deepseek | routed_scaling_factor | 2 | routed_scaling_factor: 2 (expected: absent",
        "deepseek | scoring_func | \"sigmoid\" | scoring_func: sigmoid (expected: softmax)",
        "deepseek_v2 | norm_topk_prob | true | norm_topk_prob: true (expected: false for",
        "deepseek_v2 | topk_method | \"noaux_tc\" | topk_method: noaux_tc (expected: greedy or",
        "deepseek_v2 | rope_scaling/mscale | (absent) | rope_scaling.mscale_all_dim: 0.707",
        "deepseek_v2 | rope_scaling/type | \"other\" | rope_scaling.type: other (expected",
        "deepseek_v3 | scoring_func | \"softmax\" | scoring_func: softmax (expected: sigmoid)",
        "deepseek_v3 | topk_method | \"greedy\" | topk_method: greedy (expected: noaux_tc)",
        "deepseek_v3 | quantization_config | {\"quant_method\":\"fp8\"} |"
            + " quantization_config.weight_block_size: absent (expected: two numbers",
        "deepseek_v3 | quantization_config | {\"quant_method\":\"fp8\",\"fmt\":\"e5m2\"} |"
            + " quantization_config.fmt: e5m2 (expected: e4m3)",
        "deepseek_v3 | quantization_config |"
            + " {\"quant_method\":\"fp8\",\"activation_scheme\":\"static\"} |"
            + " quantization_config.activation_scheme: static (expected: dynamic)",
        "deepseek_v3 | index_topk | 2048 | index_topk: 2048 (expected: absent",
        "gpt_oss | hidden_act | \"gelu\" | hidden_act: gelu (expected: silu)",
        "gpt_oss | layer_types | [\"chunked_attention\",\"full_attention\"] | layer_types:",
        "adaptive_moe | attention_types | [\"full\",\"linear\"] | attention_types:"
            + " [\"full\",\"linear\"] (expected: full, sliding_window, topk, density, block_sparse"
            + " or block_topk, not linear)",
        "adaptive_moe | task_heads | [\"generation\",\"value\"] | task_heads:"
      })
  void refusesByNameWhatIsNotBuilt(String fixture, String key, String value, String text) {
    refuses(UnsupportedModelException.class, fixture, key, value, text);
  }

  @Test
  void fillsInEachFamilysDefaults() {
    ObjectNode mixtral = config("mixtral");
    mixtral.remove(
        List.of("num_local_experts", "num_experts_per_tok", "rope_theta", "sliding_window"));
    ModelSpec spec = TestModels.plan(mixtral).spec();
    assertEquals(8, moe(spec).getNumExperts());
    assertEquals(2, moe(spec).getNumExpertsPerToken());
    assertEquals(0, spec.getKvGroups(0).getWindow());
    assertEquals(Math.pow(1e6, -1.0 / 8), spec.getRopes(0).getVariants(0).getInvFreq(1), 1e-12);

    ObjectNode qwen = config("qwen3_moe");
    qwen.remove(List.of("num_local_experts", "num_experts_per_tok", "norm_topk_prob", "head_dim"));
    spec = TestModels.plan(qwen).spec();
    assertEquals(128, moe(spec).getNumExperts());
    assertEquals(8, moe(spec).getNumExpertsPerToken());
    assertFalse(moe(spec).getNormalizeTopK());
    assertEquals(16, spec.getLayers(0).getGqa().getHeadDim());

    ObjectNode two = config("deepseek_v2");
    two.remove(List.of("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim"));
    two.remove(List.of("v_head_dim", "n_routed_experts", "topk_method", "first_k_dense_replace"));
    spec = TestModels.plan(two).spec();
    MlaSpec mla = spec.getLayers(0).getMla();
    assertEquals(1536, mla.getQLoraRank());
    assertEquals(512, mla.getKvLoraRank());
    assertEquals(List.of(128, 64, 128), sizes(mla));
    assertEquals(64, moe(spec).getNumExperts());
    assertTrue(spec.getLayers(0).hasMoe());

    ObjectNode three = config("deepseek_v3");
    three.remove(List.of("n_group", "topk_group", "num_experts_per_tok", "norm_topk_prob"));
    three.remove(List.of("routed_scaling_factor", "n_routed_experts", "scoring_func"));
    three.put("num_hidden_layers", 4).remove("first_k_dense_replace");
    spec = TestModels.plan(three).spec();
    assertEquals(256, moe(spec).getNumExperts());
    assertEquals(8, moe(spec).getNumExpertsPerToken());
    assertEquals(8, moe(spec).getNumGroups());
    assertEquals(4, moe(spec).getNumGroupsPerToken());
    assertEquals(2.5, moe(spec).getRoutedScalingFactor());
    assertTrue(moe(spec).getNormalizeTopK());
    assertTrue(spec.getLayers(2).hasDense() && spec.getLayers(3).hasMoe());

    ObjectNode oss = config("gpt_oss");
    oss.remove(List.of("rope_parameters", "layer_types", "sliding_window", "attention_bias"));
    spec = TestModels.plan(oss).spec();
    assertEquals(1 + 0.1 * Math.log(32), spec.getRopes(0).getVariants(0).getAttentionScale());
    assertEquals(128, spec.getKvGroups(0).getWindow());
    assertEquals(0, spec.getKvGroups(1).getWindow());
    assertTrue(spec.getLayers(0).getGqa().getVBias());
  }

  private static List<Integer> sizes(MlaSpec mla) {
    return List.of(mla.getQkNopeHeadDim(), mla.getQkRopeHeadDim(), mla.getVHeadDim());
  }

  @Test
  void adaptiveDefaultsAreThoseOfItsDefinition() {
    ModelPlan plan =
        TestModels.plan(
            TestModels.json(
                """
                {"model_type": "adaptive_moe", "vocab_size": 40, "hidden_size": 100,
                 "num_hidden_layers": 6, "num_attention_heads": 4, "moe_num_experts": 4,
                 "moe_top_k": 2, "moe_intermediate_size": 8, "favourite_norm": "pre",
                 "hidden_dropout": 0.1, "attention_types": ["full", "sliding_window", "topk",
                 "density", "block_sparse", "block_topk"]}
                """));
    // Its definition says that other keys mean nothing.
    assertEquals(List.of("favourite_norm: pre is not known and was passed over"), plan.notes());
    ModelSpec spec = plan.spec();
    assertEquals(128, spec.getLayers(0).getAdaptive().getRelativePositions());
    assertEquals(0.1, spec.getLayers(0).getAdaptive().getSparseGateThreshold());
    assertTrue(spec.getLayers(0).getAdaptive().getQkvBias());
    assertEquals(256, spec.getLayers(1).getAdaptive().getWindow());
    assertEquals(32, spec.getLayers(2).getAdaptive().getTopK());
    assertEquals(64, spec.getLayers(3).getAdaptive().getWindow());
    assertEquals(0.5, spec.getLayers(3).getAdaptive().getDensityThreshold());
    assertEquals(64, spec.getLayers(4).getAdaptive().getSparseBlockSize());
    assertEquals(3, spec.getLayers(4).getAdaptive().getNumRandomBlocks());
    assertEquals(1, spec.getLayers(4).getAdaptive().getNumGlobalBlocks());
    assertEquals(30, spec.getLayers(5).getAdaptive().getBlockKeepPercent());
    assertEquals(256, moe(spec).getRouterHiddenSize());
    assertEquals(0, moe(spec).getExpertCapacity());
    assertEquals(40, spec.getCompression().getCompressedSize());
    assertEquals(1, spec.getHeadsCount());
    assertFalse(spec.getHeads(0).getTied());
    // Without a capacity only what is seen must be kept.
    assertEquals(256, spec.getKvGroups(spec.getLayers(1).getKvGroup()).getRetention());
  }

  @ParameterizedTest
  @CsvSource({"16,16", "4,6", "null,0"})
  void aWindowedLayerKeepsWhatItCounts(String capacityWindow, int retention) {
    ModelSpec spec = plan("adaptive_moe_sparse", "capacity_window", capacityWindow).spec();
    assertEquals(retention, spec.getKvGroups(spec.getLayers(0).getKvGroup()).getRetention());
    assertEquals(0, spec.getKvGroups(spec.getLayers(1).getKvGroup()).getRetention());
  }

  @Test
  void aSeedCountsModuloTwoToTheThirtyTwo() {
    ModelSpec spec = plan("adaptive_moe_sparse", "random_block_seed", "-1").spec();
    assertEquals(0xffffffffL, spec.getLayers(1).getAdaptive().getRandomBlockSeed());
  }

  @Test
  void withoutCompressionTheModelEndsWithItsNorm() {
    ModelPlan plan = plan("adaptive_moe", "memory_compression", "false");
    assertTrue(plan.spec().hasFinalNorm());
    assertFalse(plan.spec().hasCompression());
    assertTrue(plan.bindings().stream().anyMatch(b -> b.tensor().equals("norm.weight")));
    assertTrue(
        plan("adaptive_moe", "tie_word_embeddings", "false").bindings().stream()
            .anyMatch(b -> b.tensor().equals("heads.generation.weight")));
  }

  @Test
  void bothSpellingsMeanTheSame() {
    ObjectNode legacy = config("deepseek_v3");
    ObjectNode newer = config("deepseek_v3");
    ObjectNode parameters = (ObjectNode) newer.remove("rope_scaling");
    parameters.set("rope_theta", newer.remove("rope_theta"));
    parameters.set("rope_type", parameters.remove("type"));
    newer.set("rope_parameters", parameters);
    newer.set("num_local_experts", newer.remove("n_routed_experts"));
    newer.set("dtype", newer.remove("torch_dtype"));
    newer.put("head_dim", 8).put("qk_head_dim", 24).put("rope_interleave", true);
    newer.remove("num_nextn_predict_layers");
    newer.put("num_mtp_layers", 0);
    assertEquals(TestModels.plan(legacy).spec(), TestModels.plan(newer).spec());
    newer.put("rope_interleave", false);
    assertFalse(TestModels.plan(newer).spec().getRopes(0).getInterleaved());

    ObjectNode qwen = config("qwen3_moe");
    qwen.set("num_experts", qwen.remove("num_local_experts"));
    assertEquals(TestModels.plan(config("qwen3_moe")).spec(), TestModels.plan(qwen).spec());
  }

  @Test
  void deepseekWithoutExpertsIsDense() {
    ObjectNode config = config("deepseek");
    config.putNull("n_routed_experts").putNull("num_experts_per_tok").putNull("n_shared_experts");
    ModelSpec spec = TestModels.plan(config).spec();
    assertTrue(spec.getLayersList().stream().allMatch(layer -> layer.hasDense()));
  }

  @Test
  void normalisationOfDeepseekMoe() {
    MoeSpec normalised = moe(plan("deepseek", "norm_topk_prob", "true").spec());
    assertTrue(normalised.getNormalizeTopK());
    assertEquals(1e-20, normalised.getNormalizeEpsilon());
    assertEquals(RouterScore.ROUTER_SOFTMAX, normalised.getRouter());
    ObjectNode one = with("deepseek", "norm_topk_prob", "true").put("num_experts_per_tok", 1);
    assertFalse(moe(TestModels.plan(one).spec()).getNormalizeTopK());
  }

  @Test
  void sharedExpertsMayBeNone() {
    assertFalse(moe(plan("deepseek_v3", "n_shared_experts", "null").spec()).hasShared());
    assertFalse(moe(plan("deepseek_v3", "n_shared_experts", "0").spec()).hasShared());
  }

  @Test
  void latentBiases() {
    ModelPlan plan = plan("deepseek_v3", "attention_bias", "true");
    assertTrue(plan.spec().getLayers(0).getMla().getBias());
    assertEquals(
        List.of(
            "model.layers.0.self_attn.q_a_proj.bias",
            "model.layers.0.self_attn.kv_a_proj_with_mqa.bias",
            "model.layers.0.self_attn.o_proj.bias"),
        plan.bindings().stream()
            .map(b -> b.tensor())
            .filter(t -> t.startsWith("model.layers.0.self_attn") && t.endsWith("bias"))
            .toList());
  }
}

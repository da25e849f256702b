package ai.sluice.checkpoint;

import static ai.sluice.checkpoint.TestModels.LLAMA;
import static ai.sluice.checkpoint.TestModels.plan;
import static ai.sluice.checkpoint.TestModels.with;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.SluiceException;
import ai.sluice.api.UnsupportedModelException;
import ai.sluice.checkpoint.arch.Binding;
import ai.sluice.checkpoint.arch.ModelPlan;
import ai.sluice.proto.Activation;
import ai.sluice.proto.GqaSpec;
import ai.sluice.proto.LayerSpec;
import ai.sluice.proto.ModelSpec;
import ai.sluice.proto.NormScope;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Settings of config.json: spellings, defaults, ranges, and what is honoured or refused. */
class ConfigTest {
  private static final String MISTRAL =
      LLAMA.replace("LlamaForCausalLM", "MistralForCausalLM").replace("\"llama\"", "\"mistral\"");
  private static final String QWEN2 =
      LLAMA.replace("LlamaForCausalLM", "Qwen2ForCausalLM").replace("\"llama\"", "\"qwen2\"");
  private static final String QWEN3 =
      LLAMA.replace("LlamaForCausalLM", "Qwen3ForCausalLM").replace("\"llama\"", "\"qwen3\"");

  private static ObjectNode without(String base, String... keys) {
    ObjectNode config = TestModels.json(base);
    config.remove(List.of(keys));
    return config;
  }

  private static String failure(Class<? extends SluiceException> type, ObjectNode config) {
    String message = assertThrows(type, () -> plan(config)).getMessage();
    assertTrue(message.startsWith("config.json: "), message);
    return message;
  }

  private static List<Integer> windows(ModelSpec spec) {
    return spec.getLayersList().stream()
        .map(layer -> spec.getKvGroups(layer.getKvGroup()).getWindow())
        .toList();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "hidden_size | 0 | hidden_size: 0 (expected: 1 to",
        "hidden_size | -5 | hidden_size: -5 (expected: 1 to",
        "hidden_size | 1e300 | hidden_size: 1.0E300 (expected: 1 to",
        "hidden_size | \"64\" | hidden_size: 64 (expected: 1 to",
        "hidden_size | 64.5 | hidden_size: 64.5 (expected: 1 to",
        "hidden_size | true | hidden_size: true (expected: 1 to",
        "hidden_size | [64] | hidden_size: [64] (expected: 1 to",
        "hidden_size | {} | hidden_size: {} (expected: 1 to",
        "hidden_size | null | hidden_size: missing (expected: 1 to",
        "hidden_size | 9223372036854775808 | hidden_size: 9223372036854775808 (expected",
        "num_hidden_layers | 5000 | num_hidden_layers: 5000 (expected: 1 to 1024)",
        "num_hidden_layers | 2147483648 | num_hidden_layers: 2147483648 (expected: 1 to 1024)",
        "num_attention_heads | 5 | num_key_value_heads: 2 (expected: a divisor of",
        "num_key_value_heads | 3 | num_key_value_heads: 3 (expected: a divisor of",
        "num_key_value_heads | 8 | num_key_value_heads: 8 (expected: a divisor of",
        "hidden_size | 34 | hidden_size: 34 (expected: a multiple of num_attention_heads, 4",
        "head_dim | 7 | head_dim: 7 (expected: an even number",
        "vocab_size | 1e9 | vocab_size: 1.0E9 (expected: 1 to",
        "rms_norm_eps | 0 | rms_norm_eps: 0 (expected: a number above 0)",
        "rms_norm_eps | -1e-6 | rms_norm_eps: -1.0E-6 (expected: a number above 0)",
        "rms_norm_eps | \"1e-6\" | rms_norm_eps: 1e-6 (expected: a number above 0)",
        "rms_norm_eps | 1e999 | rms_norm_eps: ",
        "rope_theta | 0 | rope_theta: 0 (expected: a number above 0)",
        "rope_theta | [] | rope_theta: [] (expected: a number above 0)",
        "tie_word_embeddings | 1 | tie_word_embeddings: 1 (expected: true or false)",
        "attention_bias | \"no\" | attention_bias: no (expected: true or false)",
        "hidden_act | 3 | hidden_act: 3 (expected: a text)",
        "architectures | \"LlamaForCausalLM\" | architectures: LlamaForCausalLM (expected: an"
            + " array",
        "architectures | [1] | architectures: [1] (expected: an array of texts)",
        "model_type | \"mistral\" | model_type: mistral (expected: llama, as architectures says)",
        "rope_scaling | \"linear\" | rope_scaling: linear (expected: an object)",
        "rope_scaling | {\"type\":\"linear\"} | rope_scaling.factor: missing",
        "rope_scaling | {\"type\":\"linear\",\"factor\":0.5} | rope_scaling.factor: 0.5 (expected:"
            + " at least 1",
        "rope_scaling | {\"type\":\"linear\",\"factor\":\"x\"} | rope_scaling.factor: x (expected",
        "rope_scaling | {\"rope_type\":7} | rope_scaling.rope_type: 7 (expected: a text)",
        "rope_parameters | {\"rope_theta\":5} | rope_theta: 10000.0 (expected: 5.0, as"
            + " rope_parameters.rope_theta"
      })
  void refusesSettingsOutOfRange(String key, String value, String text) {
    String message =
        failure(CheckpointFormatException.class, with(LLAMA, "\"" + key + "\":" + value));
    assertTrue(message.contains(text), message);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "vocab_size"
      })
  void requiresTheSizes(String key) {
    String message = failure(CheckpointFormatException.class, without(LLAMA, key));
    assertTrue(message.contains(key + ": missing (expected: 1 to"), message);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "architectures | [\"FooForCausalLM\"] | architecture: FooForCausalLM (expected: LlamaFor",
        "architectures | [\"LlamaForSequenceClassification\"] | architecture: LlamaForSequence",
        "architectures | [\"LlamaForCausalLM\",\"X\"] | architectures: ",
        "hidden_act | \"xielu\" | hidden_act: xielu (expected: silu, gelu",
        "rope_scaling | {\"type\":\"su\",\"factor\":4} | rope_scaling.type: su (expected:"
            + " default, linear",
        "rope_scaling | {\"rope_type\":\"longrope\"} | rope_scaling.rope_type: longrope (expected",
        "rope_scaling | {\"type\":\"mrope\",\"mrope_section\":[1]} | rope_scaling.type: mrope"
            + " (expected",
        "rope_scaling | {\"type\":\"linear\",\"factor\":2,\"attention_factor\":2} |"
            + " rope_scaling.attention_factor: 2",
        "rope_scaling | {\"type\":\"linear\",\"factor\":2,\"partial_rotary_factor\":0.5} |"
            + " rope_scaling.partial_rotary_factor: 0.5 (expected: 1)",
        "rope_scaling | {\"type\":\"dynamic\",\"factor\":2,\"original_max_position_embeddings\":64}"
            + " | rope_scaling.original_max_position_embeddings: 64 (expected: 128",
        "rope_parameters | {\"full_attention\":{\"rope_theta\":1}} |"
            + " rope_parameters.full_attention",
        "partial_rotary_factor | 0.5 | partial_rotary_factor: 0.5 (expected: 1)",
        "quantization_config | {\"quant_method\":\"awq\"} | quantization_config.quant_method: awq"
            + " (expected: fp8 or mxfp4",
        "compression_config | {\"format\":\"x\"} | compression_config: ",
        "sliding_window | 1024 | sliding_window: 1024 (expected: absent",
        "final_logit_softcapping | 30.0 | final_logit_softcapping: 30.0 (expected: absent",
        "attn_logit_softcapping | 50.0 | attn_logit_softcapping",
        "logits_scaling | 8 | logits_scaling: 8",
        "residual_multiplier | 0.22 | residual_multiplier",
        "embedding_multiplier | 12.0 | embedding_multiplier",
        "attention_multiplier | 0.015 | attention_multiplier",
        "logit_scale | 0.06 | logit_scale",
        "scale_emb | 12 | scale_emb",
        "num_experts | 8 | num_experts: 8",
        "num_local_experts | 8 | num_local_experts",
        "n_routed_experts | 64 | n_routed_experts",
        "num_nextn_predict_layers | 1 | num_nextn_predict_layers",
        "use_qk_norm | true | use_qk_norm: true",
        "qk_layernorm | true | qk_layernorm",
        "parallel_attn | true | parallel_attn",
        "alibi | true | alibi",
        "clip_qkv | 8 | clip_qkv",
        "layer_types | [\"sliding_attention\",\"full_attention\"] | layer_types",
        "attention_chunk_size | 8192 | attention_chunk_size",
        "no_rope_layers | [1,0] | no_rope_layers",
        "layer_norm_eps | 1e-5 | layer_norm_eps",
        "original_max_position_embeddings | 64 | original_max_position_embeddings",
        "pruned_heads | {\"0\":[1]} | pruned_heads",
        "vision_config | {\"hidden_size\":1} | vision_config"
      })
  void refusesByNameWhatChangesTheArithmetic(String key, String value, String text) {
    ObjectNode config = with(LLAMA, "\"" + key + "\":" + value);
    String message = failure(UnsupportedModelException.class, config);
    assertTrue(message.contains(text), message);
  }

  @Test
  void acceptsWhatAsksForNothing() {
    ModelPlan plan =
        plan(
            with(
                LLAMA,
                """
                "sliding_window": null, "use_qk_norm": false, "residual_multiplier": 1.0,
                "num_experts": 0, "pruned_heads": {}, "no_rope_layers": [], "scale": 1,
                "attn_pdrop": 0.1, "temperature": 0.6, "auto_map": {"A": "b"},
                "rope_interleaved": false, "is_llama_config": true, "attention_dropout": 0.1,
                "transformers.js_config": {"kv_cache_dtype": {"fp16": "float16"}},
                "pretraining_tp": 2, "partial_rotary_factor": 1.0, "num_labels": 2,
                "use_cache": true, "initializer_range": 0.02
                """));
    // num_labels is a count that is no known key; it belongs to another head.
    assertEquals(List.of("num_labels: 2 is not known and was passed over"), plan.notes());
  }

  @Test
  void saysWhichUnknownKeysItPassedOver() {
    ModelPlan plan = plan(with(LLAMA, "\"favourite_colour\": \"blue\", \"x\": {\"y\": 1}"));
    assertEquals(
        List.of(
            "favourite_colour: blue is not known and was passed over",
            "x: {\"y\":1} is not known and was passed over"),
        plan.notes());
    ModelPlan nested =
        plan(
            with(
                LLAMA,
                """
                "rope_scaling": {"rope_type": "linear", "factor": 2, "finetuned": true},
                "quantization_config": {"quant_method": "mxfp4", "colour": "blue"}
                """));
    assertEquals(
        List.of(
            "rope_scaling.finetuned: true is not known and was passed over",
            "quantization_config.colour: blue is not known and was passed over"),
        nested.notes());
  }

  @Test
  void knowsAnArchitectureByModelTypeAlone() {
    assertEquals("llama", plan(without(LLAMA, "architectures")).spec().getArchitecture());
    assertEquals("llama", plan(without(LLAMA, "model_type")).spec().getArchitecture());
    String neither =
        failure(CheckpointFormatException.class, without(LLAMA, "architectures", "model_type"));
    assertTrue(neither.contains("architectures: missing, as is model_type"), neither);
    ObjectNode gemma = without(LLAMA, "architectures").put("model_type", "gemma2");
    String unknown = failure(UnsupportedModelException.class, gemma);
    assertTrue(
        unknown.contains("model_type: gemma2 (expected: LlamaForCausalLM, Mistral"), unknown);
  }

  @Test
  void fillsInEachFamilysDefaults() {
    String[] optional = {
      "num_key_value_heads",
      "max_position_embeddings",
      "rms_norm_eps",
      "rope_theta",
      "tie_word_embeddings",
      "torch_dtype"
    };
    ModelSpec llama = plan(without(LLAMA, optional)).spec();
    assertEquals(4, llama.getLayers(0).getGqa().getNumKvHeads());
    assertEquals(8, llama.getLayers(0).getGqa().getHeadDim());
    assertEquals(2048, llama.getMaxContextLen());
    assertEquals(1e-6, llama.getFinalNorm().getEps());
    assertFalse(llama.getHeads(0).getTied());
    assertEquals(Math.pow(10_000, -0.25), llama.getRopes(0).getVariants(0).getInvFreq(1), 1e-15);

    ObjectNode mistralConfig = without(MISTRAL, optional);
    mistralConfig.put("num_attention_heads", 16);
    ModelSpec mistral = plan(mistralConfig).spec();
    assertEquals(8, mistral.getLayers(0).getGqa().getNumKvHeads());
    assertEquals(131_072, mistral.getMaxContextLen());
    assertEquals(List.of(4096, 4096), windows(mistral));
    mistralConfig.putNull("num_key_value_heads");
    assertEquals(16, plan(mistralConfig).spec().getLayers(0).getGqa().getNumKvHeads());

    ModelSpec qwen3 = plan(without(QWEN3, "max_position_embeddings", "rms_norm_eps")).spec();
    assertEquals(128, qwen3.getLayers(0).getGqa().getHeadDim());
    assertEquals(32_768, qwen3.getMaxContextLen());
    assertEquals(List.of(0, 0), windows(qwen3));
  }

  @Test
  void bothSpellingsMeanTheSame() {
    ObjectNode legacy =
        with(
            LLAMA,
            """
            "rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0,
            "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64}
            """);
    ObjectNode newer = without(LLAMA, "rope_theta", "torch_dtype");
    newer.put("dtype", "float32");
    newer.set(
        "rope_parameters",
        TestModels.json(
            """
            {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
             "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
            """));
    assertEquals(plan(legacy).spec(), plan(newer).spec());
    ObjectNode oldest = legacy.deepCopy();
    ObjectNode scaling = (ObjectNode) oldest.get("rope_scaling");
    scaling.set("type", scaling.remove("rope_type"));
    assertEquals(plan(legacy).spec(), plan(oldest).spec());
  }

  @Test
  void llamaBiasesAndActivation() {
    ModelPlan plan =
        plan(
            with(
                LLAMA,
                "\"attention_bias\": true, \"mlp_bias\": true,"
                    + " \"hidden_act\": \"gelu_pytorch_tanh\", \"head_dim\": 16"));
    LayerSpec layer = plan.spec().getLayers(1);
    assertTrue(layer.getGqa().getQBias() && layer.getGqa().getKBias() && layer.getGqa().getVBias());
    assertTrue(layer.getGqa().getOBias());
    assertTrue(layer.getDense().getGateUpBias() && layer.getDense().getDownBias());
    assertEquals(Activation.GELU_TANH, layer.getDense().getActivation().getKind());
    assertEquals(0.25, layer.getGqa().getSoftmaxScale());
    assertEquals(
        List.of(64L),
        plan.bindings().stream()
            .filter(b -> b.tensor().equals("model.layers.0.self_attn.q_proj.bias"))
            .findFirst()
            .orElseThrow()
            .shape());
  }

  @Test
  void qwen2WindowsFromALayerOnOnlyIfUsed() {
    String window = "\"sliding_window\": 16, \"max_window_layers\": 1";
    assertEquals(List.of(0, 0), windows(plan(with(QWEN2, window)).spec()));
    ModelSpec used = plan(with(QWEN2, window + ", \"use_sliding_window\": true")).spec();
    assertEquals(List.of(0, 16), windows(used));
    assertEquals(0, used.getKvGroups(0).getRetention());
    assertEquals(16, used.getKvGroups(1).getRetention());
    assertTrue(used.getLayers(0).getGqa().getQBias());
    assertFalse(used.getLayers(0).getGqa().getOBias());

    String types = window + ", \"layer_types\": [\"sliding_attention\", \"full_attention\"]";
    assertEquals(
        List.of(16, 0),
        windows(plan(with(QWEN2, types + ", \"use_sliding_window\": true")).spec()));
    String contradiction = failure(CheckpointFormatException.class, with(QWEN2, types));
    assertTrue(contradiction.contains("layer_types: "), contradiction);
    String count =
        failure(
            CheckpointFormatException.class, with(QWEN2, "\"layer_types\": [\"full_attention\"]"));
    assertTrue(count.contains("(expected: 2 entries, one per layer)"), count);
    String unknown =
        failure(
            UnsupportedModelException.class,
            with(QWEN2, "\"layer_types\": [\"full_attention\", \"linear_attention\"]"));
    assertTrue(unknown.contains("(expected: full_attention or sliding_attention)"), unknown);
  }

  @Test
  void mistralWindowsEveryLayer() {
    assertEquals(List.of(16, 16), windows(plan(with(MISTRAL, "\"sliding_window\": 16")).spec()));
    assertEquals(List.of(0, 0), windows(plan(with(MISTRAL, "\"sliding_window\": null")).spec()));
    String zero = failure(CheckpointFormatException.class, with(MISTRAL, "\"sliding_window\": 0"));
    assertTrue(zero.contains("sliding_window: 0 (expected: 1 to"), zero);
  }

  @Test
  void qwen3NormsEveryHead() {
    GqaSpec gqa = plan(with(QWEN3, "\"head_dim\": 16")).spec().getLayers(0).getGqa();
    assertEquals(NormScope.PER_HEAD, gqa.getQNorm().getScope());
    assertEquals(1e-5, gqa.getKNorm().getEps());
    assertFalse(gqa.getNormAfterRope());
    assertFalse(gqa.getQBias());
    assertTrue(
        plan(with(QWEN3, "\"attention_bias\": true")).spec().getLayers(0).getGqa().getOBias());
    assertEquals(
        Stream.of(0, 1)
            .flatMap(
                i ->
                    Stream.of("q_norm", "k_norm")
                        .map(n -> "model.layers." + i + ".self_attn." + n + ".weight"))
            .toList(),
        plan(TestModels.json(QWEN3)).bindings().stream()
            .map(Binding::tensor)
            .filter(t -> t.contains("_norm."))
            .toList());
  }

  @Test
  void linearRopeDividesEveryFrequency() {
    ModelSpec plain = plan(TestModels.json(LLAMA)).spec();
    ModelSpec linear =
        plan(with(LLAMA, "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 4.0}")).spec();
    IntStream.range(0, 4)
        .forEach(
            i ->
                assertEquals(
                    plain.getRopes(0).getVariants(0).getInvFreq(i) / 4,
                    linear.getRopes(0).getVariants(0).getInvFreq(i)));
    assertEquals(512, linear.getMaxContextLen());
  }

  @Test
  void dynamicRopeDependsOnThePromptsLength() {
    ModelPlan plan =
        plan(with(LLAMA, "\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2.0}"));
    ModelSpec plain = plan(TestModels.json(LLAMA)).spec();
    assertEquals(plain.getRopes(0), plan.spec().getRopes(0));
    assertEquals(256, plan.spec().getMaxContextLen());
    DynamicRope rope = plan.dynamicRope().orElseThrow();
    assertFalse(rope.needsVariant(128));
    assertTrue(rope.needsVariant(129));
    assertEquals(
        plain.getRopes(0).getVariants(0).getInvFreqList(),
        java.util.Arrays.stream(rope.inverseFrequencies(100)).boxed().toList());
    // At 192 = 1.5 times the positions: base * (2 * 1.5 - 1)^(8/6).
    double base = 10_000 * Math.cbrt(16);
    double[] frequencies = rope.inverseFrequencies(192);
    assertEquals(1, frequencies[0]);
    assertEquals(1 / Math.sqrt(Math.sqrt(base)), frequencies[1], 1e-12);
    assertEquals(1 / Math.sqrt(base), frequencies[2], 1e-12);
  }
}

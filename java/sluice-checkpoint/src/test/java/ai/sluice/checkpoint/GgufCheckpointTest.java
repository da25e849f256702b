package ai.sluice.checkpoint;

import static ai.sluice.checkpoint.TestModels.LLAMA;
import static ai.sluice.checkpoint.TestModels.addTensors;
import static ai.sluice.checkpoint.TestModels.changed;
import static ai.sluice.checkpoint.TestModels.ggufKeys;
import static ai.sluice.checkpoint.TestModels.json;
import static ai.sluice.checkpoint.TestModels.shapes;
import static ai.sluice.checkpoint.TestModels.with;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.SluiceException;
import ai.sluice.api.UnsupportedModelException;
import ai.sluice.proto.Format;
import ai.sluice.proto.ModelSpec;
import ai.sluice.proto.Part;
import ai.sluice.proto.Slot;
import ai.sluice.proto.WeightTransfer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** GGUF files as whole checkpoints. */
class GgufCheckpointTest {
  @TempDir Path root;

  private Checkpoint open(GgufBytes bytes) {
    return Checkpoint.open(TestModels.write(root.resolve("tiny.gguf"), bytes));
  }

  private static Map<String, List<Long>> llamaShapes() {
    return shapes(json(LLAMA));
  }

  private static GgufBytes llama(GgufBytes keys) {
    return addTensors(keys, llamaShapes());
  }

  private String failure(Class<? extends SluiceException> type, GgufBytes bytes) {
    return assertThrows(type, () -> open(bytes)).getMessage();
  }

  @Test
  void theSameModelAsFromConfigJsonButForTheOrderOfPairs() {
    Checkpoint checkpoint = open(llama(ggufKeys("llama")));
    ModelSpec.Builder expected = TestModels.plan(json(LLAMA)).spec().toBuilder();
    expected.getRopesBuilder(0).setInterleaved(true);
    // The epsilon is stored in single precision.
    double eps = 1e-5f;
    expected.getFinalNormBuilder().setEps(eps);
    expected
        .getLayersBuilderList()
        .forEach(
            layer -> {
              layer.getAttentionNormBuilder().setEps(eps);
              layer.getFeedForwardNormBuilder().setEps(eps);
            });
    assertEquals(expected.build(), checkpoint.modelSpec());
    assertEquals(CheckpointFormat.GGUF, checkpoint.format());
    assertEquals(Optional.of("Tiny"), checkpoint.name());
    assertEquals(List.of(), checkpoint.notes());
    assertTrue(checkpoint.tokenizer().isEmpty());
    String noTokenizer =
        assertThrows(CheckpointFormatException.class, checkpoint::requireTokenizer).getMessage();
    assertTrue(noTokenizer.contains("tokenizer.ggml.tokens: missing"), noTokenizer);

    WeightTransfer k =
        checkpoint.weights().getTransfersList().stream()
            .filter(t -> t.getName().equals("blk.1.attn_k.weight"))
            .findFirst()
            .orElseThrow();
    assertEquals(Slot.QKV, k.getDestination().getSlot());
    assertEquals(Part.PART_K, k.getDestination().getPart());
    assertEquals(1, k.getDestination().getLayer());
    assertEquals(List.of(16L, 32L), k.getSource().getShapeList());
    assertEquals(Format.F32, k.getSource().getFormat());
  }

  @Test
  void qwenKeepsHalvesAndItsBiases() {
    String qwen2 =
        LLAMA.replace("LlamaForCausalLM", "Qwen2ForCausalLM").replace("\"llama\"", "\"qwen2\"");
    Checkpoint two = open(addTensors(ggufKeys("qwen2"), shapes(json(qwen2))));
    assertFalse(two.modelSpec().getRopes(0).getInterleaved());
    assertTrue(two.modelSpec().getLayers(0).getGqa().getVBias());
    assertEquals("qwen2", two.architecture());

    String qwen3 =
        LLAMA.replace("LlamaForCausalLM", "Qwen3ForCausalLM").replace("\"llama\"", "\"qwen3\"");
    Map<String, List<Long>> shapes = shapes(with(qwen3, "\"head_dim\": 16"));
    GgufBytes keys =
        new GgufBytes()
            .key("general.architecture", "qwen3")
            .key("qwen3.block_count", 2)
            .key("qwen3.context_length", 128)
            .key("qwen3.embedding_length", 32)
            .key("qwen3.feed_forward_length", 64)
            .key("qwen3.attention.head_count", 4)
            .key("qwen3.attention.head_count_kv", 2)
            .key("qwen3.attention.key_length", 16)
            .key("qwen3.attention.value_length", 16)
            .key("qwen3.attention.layer_norm_rms_epsilon", 1e-5f);
    Checkpoint three = open(addTensors(keys, shapes));
    assertEquals(16, three.modelSpec().getLayers(1).getGqa().getHeadDim());
    assertTrue(three.modelSpec().getLayers(1).getGqa().hasQNorm());
  }

  @Test
  void withoutOutputTheEmbeddingIsTheHead() {
    Checkpoint checkpoint =
        open(
            addTensors(
                ggufKeys("llama"),
                changed(
                    llamaShapes(),
                    s -> {
                      s.remove("lm_head.weight");
                      return s;
                    })));
    assertTrue(checkpoint.modelSpec().getHeads(0).getTied());
    assertEquals(20, checkpoint.weights().getTransfersCount());
  }

  @Test
  void biasesFollowFromTheirTensors() {
    Map<String, List<Long>> biased =
        shapes(with(LLAMA, "\"attention_bias\": true, \"mlp_bias\": true"));
    ModelSpec spec = open(addTensors(ggufKeys("llama"), biased)).modelSpec();
    assertTrue(spec.getLayers(0).getGqa().getOBias());
    assertTrue(spec.getLayers(0).getDense().getDownBias());
  }

  @Test
  void ropeFactorsDivideTheFrequencies() {
    ModelSpec plain = open(llama(ggufKeys("llama"))).modelSpec();
    GgufBytes bytes = llama(ggufKeys("llama")).addValues("rope_freqs.weight", 1, 2, 4, 8);
    ModelSpec divided = open(bytes).modelSpec();
    for (int i = 0; i < 4; i++) {
      assertEquals(
          plain.getRopes(0).getVariants(0).getInvFreq(i) / (1 << i),
          divided.getRopes(0).getVariants(0).getInvFreq(i));
    }
    String wrongCount =
        failure(
            CheckpointFormatException.class,
            llama(ggufKeys("llama")).addValues("rope_freqs.weight", 1, 2, 4));
    assertTrue(
        wrongCount.contains("rope_freqs.weight: 3 values (expected: 4, half of"), wrongCount);
    String zero =
        failure(
            CheckpointFormatException.class,
            llama(ggufKeys("llama")).addValues("rope_freqs.weight", 1, 0, 4, 1));
    assertTrue(zero.contains("rope_freqs.weight: value 1: 0.0 (expected: above 0)"), zero);
    String nan =
        failure(
            CheckpointFormatException.class,
            llama(ggufKeys("llama")).addValues("rope_freqs.weight", 1, Float.NaN, 4, 1));
    assertTrue(nan.contains("rope_freqs.weight"), nan);
  }

  @Test
  void linearScalingInBothSpellings() {
    double plain =
        open(llama(ggufKeys("llama"))).modelSpec().getRopes(0).getVariants(0).getInvFreq(1);
    ModelSpec newer =
        open(llama(
                ggufKeys("llama")
                    .key("llama.rope.scaling.type", "linear")
                    .key("llama.rope.scaling.factor", 4f)
                    .key("llama.rope.scaling.original_context_length", 64)))
            .modelSpec();
    ModelSpec older = open(llama(ggufKeys("llama").key("llama.rope.scale_linear", 4f))).modelSpec();
    assertEquals(plain / 4, newer.getRopes(0).getVariants(0).getInvFreq(1));
    assertEquals(newer, older);
  }

  @Test
  void aWindowOfALlamaFileCounts() {
    ModelSpec spec =
        open(llama(ggufKeys("llama").key("llama.attention.sliding_window", 16))).modelSpec();
    assertEquals(16, spec.getKvGroups(0).getWindow());
    spec = open(llama(ggufKeys("llama").key("llama.attention.sliding_window", 0))).modelSpec();
    assertEquals(0, spec.getKvGroups(0).getWindow());
  }

  static Stream<Arguments> unsupported() {
    return Stream.of(
        refused(k -> k.key("general.type", "adapter"), "general.type: adapter (expected: model)"),
        refused(k -> k.key("split.count", 3), "split.count: 3 (expected: 1; merge"),
        refused(
            k -> k.key("llama.expert_group_count", 2),
            "llama.expert_group_count: 2 (expected: absent"),
        refused(
            k -> k.key("llama.attention.value_length", 16),
            "llama.attention.value_length: 16 (expected: 8, the size of a head)"),
        refused(
            k -> k.key("llama.rope.scaling.type", "longrope").key("llama.rope.scaling.factor", 2f),
            "llama.rope.scaling.type: longrope (expected: default, linear"),
        refused(
            k -> k.key("llama.rope.scaling.attn_factor", 2f),
            "llama.rope.scaling.attn_factor: 2.0"),
        refused(k -> k.key("llama.logit_scale", 2f), "llama.logit_scale: 2.0"),
        refused(k -> k.key("llama.attention.scale", 0.5f), "llama.attention.scale: 0.5"),
        refused(k -> k.key("llama.use_parallel_residual", true), "llama.use_parallel_residual"),
        refused(
            k -> k.key("llama.attn_logit_softcapping", 5f), "llama.attn_logit_softcapping: 5.0"),
        refused(
            k -> k.key("llama.attention.layer_norm_epsilon", 1e-5f),
            "llama.attention.layer_norm_epsilon"));
  }

  private static Arguments refused(UnaryOperator<GgufBytes> change, String text) {
    return Arguments.of(text, change);
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("unsupported")
  void refusesByNameWhatChangesTheArithmetic(String text, UnaryOperator<GgufBytes> change) {
    String message =
        failure(UnsupportedModelException.class, llama(change.apply(ggufKeys("llama"))));
    assertTrue(message.contains("tiny.gguf: " + text), message);
  }

  @Test
  void aModelThatLooksBothWaysIsRefused() {
    String message =
        failure(
            UnsupportedModelException.class,
            llama(ggufKeys("llama").key("llama.attention.causal", false)));
    assertTrue(message.contains("llama.attention.causal: false (expected: true"), message);
    open(llama(ggufKeys("llama").key("llama.attention.causal", true)));
  }

  @Test
  void qwensWindowIsRefusedSinceTheFileDoesNotSayWhichLayersHaveIt() {
    String qwen2 =
        LLAMA.replace("LlamaForCausalLM", "Qwen2ForCausalLM").replace("\"llama\"", "\"qwen2\"");
    String message =
        failure(
            UnsupportedModelException.class,
            addTensors(
                ggufKeys("qwen2").key("qwen2.attention.sliding_window", 16), shapes(json(qwen2))));
    assertTrue(message.contains("qwen2.attention.sliding_window: 16"), message);
  }

  @Test
  void perLayerNumbersMustAgree() {
    GgufBytes same =
        new GgufBytes()
            .key("general.architecture", "llama")
            .key("llama.block_count", 2)
            .key("llama.context_length", 128)
            .key("llama.embedding_length", 32)
            .key("llama.feed_forward_length", GgufBytes.ARRAY, array(64, 64))
            .key("llama.attention.head_count", 4)
            .key("llama.attention.head_count_kv", GgufBytes.ARRAY, array(2, 2))
            .key("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    assertEquals(64, open(llama(same)).modelSpec().getLayers(0).getDense().getIntermediateSize());
    GgufBytes different =
        new GgufBytes()
            .key("general.architecture", "llama")
            .key("llama.block_count", 2)
            .key("llama.context_length", 128)
            .key("llama.embedding_length", 32)
            .key("llama.feed_forward_length", GgufBytes.ARRAY, array(64, 32))
            .key("llama.attention.head_count", 4)
            .key("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    String message = failure(UnsupportedModelException.class, llama(different));
    assertTrue(
        message.contains("llama.feed_forward_length: an array of 2 int32 (expected: the same"),
        message);
  }

  private static byte[] array(int... values) {
    byte[] bytes = GgufBytes.join(GgufBytes.u32(GgufBytes.I32), GgufBytes.u64(values.length));
    for (int value : values) {
      bytes = GgufBytes.join(bytes, GgufBytes.u32(value));
    }
    return bytes;
  }

  @ParameterizedTest
  @CsvSource({
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.layer_norm_rms_epsilon"
  })
  void namesAMissingKey(String missing) {
    GgufBytes keys = new GgufBytes().key("general.architecture", "llama");
    for (String key :
        List.of(
            "block_count",
            "context_length",
            "embedding_length",
            "feed_forward_length",
            "attention.head_count")) {
      if (!key.equals(missing)) {
        keys.key("llama." + key, 4);
      }
    }
    if (!missing.equals("attention.layer_norm_rms_epsilon")) {
      keys.key("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    }
    String message = failure(CheckpointFormatException.class, llama(keys));
    assertTrue(message.contains("llama." + missing + ": missing"), message);
  }

  @Test
  void namesTheArchitectureAndTheSupportedOnes() {
    String message = failure(UnsupportedModelException.class, llama(ggufKeys("gemma3")));
    assertTrue(
        message.endsWith(
            "general.architecture: gemma3 (expected: llama, qwen2, qwen3, qwen3moe,"
                + " deepseek, deepseek2, gpt-oss)"),
        message);
    String none = failure(CheckpointFormatException.class, new GgufBytes().key("a", 1));
    assertTrue(none.contains("general.architecture: missing (expected: llama, qwen2"), none);
    String wrong =
        failure(CheckpointFormatException.class, new GgufBytes().key("general.architecture", 1));
    assertTrue(wrong.contains("general.architecture: 1 (expected: a text)"), wrong);
  }

  @Test
  void usesTheFilesOwnNamesForTensorsAndKeys() {
    String missing =
        failure(
            CheckpointFormatException.class,
            addTensors(
                ggufKeys("llama"),
                changed(
                    llamaShapes(),
                    s -> {
                      s.remove("model.layers.1.self_attn.o_proj.weight");
                      return s;
                    })));
    assertTrue(
        missing.contains("blk.1.attn_output.weight: missing (expected: a tensor of shape [32, 32]"),
        missing);
    String extra =
        failure(
            CheckpointFormatException.class,
            llama(ggufKeys("llama")).add("blk.0.ffn_gate_inp.weight", DType.F32, 0, 4, 32));
    assertTrue(extra.contains("blk.0.ffn_gate_inp.weight: F32 [4, 32] is no tensor"), extra);
    String shape =
        failure(
            CheckpointFormatException.class,
            addTensors(
                ggufKeys("llama"),
                changed(
                    llamaShapes(),
                    s -> {
                      s.put("model.layers.0.mlp.up_proj.weight", List.of(32L, 64L));
                      return s;
                    })));
    assertTrue(shape.contains("blk.0.ffn_up.weight: shape: [32, 64] (expected: [64, 32]"), shape);
    String twice =
        failure(
            CheckpointFormatException.class,
            llama(ggufKeys("llama")).add("model.norm.weight", DType.F32, 0, 32));
    assertTrue(twice.contains("means the same tensor as output_norm.weight"), twice);
    String embedding =
        failure(
            CheckpointFormatException.class,
            addTensors(
                ggufKeys("llama"),
                changed(
                    llamaShapes(),
                    s -> {
                      s.remove("model.embed_tokens.weight");
                      return s;
                    })));
    assertTrue(embedding.contains("token_embd.weight: no such tensor"), embedding);
    String count =
        failure(
            CheckpointFormatException.class,
            llama(
                new GgufBytes()
                    .key("general.architecture", "llama")
                    .key("llama.block_count", 0)
                    .key("llama.context_length", 128)
                    .key("llama.embedding_length", 32)
                    .key("llama.feed_forward_length", 64)
                    .key("llama.attention.head_count", 4)
                    .key("llama.attention.layer_norm_rms_epsilon", 1e-5f)));
    assertTrue(count.contains("llama.block_count: 0 (expected: 1 to 1024)"), count);
  }

  @ParameterizedTest
  @CsvSource({"F16,1", "BF16,30", "Q8_0,8", "Q4_0,2", "Q4_1,3", "Q5_0,6", "Q5_1,7", "MXFP4,39"})
  void acceptsTheFormatsOfWeights(DType dtype, int id) {
    Checkpoint checkpoint = open(withUp(dtype, id));
    assertEquals(
        dtype.label(),
        checkpoint.weights().getTransfersList().stream()
            .filter(t -> t.getName().equals("blk.0.ffn_up.weight"))
            .findFirst()
            .orElseThrow()
            .getSource()
            .getFormat()
            .name());
  }

  @ParameterizedTest
  @CsvSource({"IQ4_NL,20", "Q8_1,9", "F64,28", "I32,26"})
  void refusesOtherFormatsByName(DType dtype, int id) {
    String message = failure(UnsupportedModelException.class, withUp(dtype, id));
    assertTrue(
        message.contains("blk.0.ffn_up.weight: dtype: " + dtype.label() + " (expected: F16, BF16"),
        message);
  }

  private static GgufBytes withUp(DType dtype, int id) {
    GgufBytes bytes =
        addTensors(
            ggufKeys("llama"),
            changed(
                llamaShapes(),
                s -> {
                  s.remove("model.layers.0.mlp.up_proj.weight");
                  return s;
                }));
    return bytes.add("blk.0.ffn_up.weight", dtype, id, 64, 32);
  }

  @Test
  void superBlocksAreFormatsOfWeightsToo() {
    for (DType dtype : List.of(DType.Q4_K, DType.Q5_K, DType.Q6_K)) {
      assertEquals(dtype.label(), WeightSources.FORMATS.get(dtype).name());
    }
    assertEquals(12, WeightSources.FORMATS.size());
  }

  @Test
  void opensTheOneFileOfAFolder() throws IOException {
    Path folder = Files.createDirectories(root.resolve("folder"));
    TestModels.write(folder.resolve("a.gguf"), llama(ggufKeys("llama")));
    assertEquals(folder.resolve("a.gguf"), Checkpoint.open(folder).path());
    // The original's settings beside the file change nothing.
    Files.writeString(folder.resolve("config.json"), LLAMA);
    assertEquals(CheckpointFormat.GGUF, Checkpoint.open(folder).format());
    TestModels.write(folder.resolve("b.gguf"), llama(ggufKeys("llama")));
    String message =
        assertThrows(CheckpointFormatException.class, () -> Checkpoint.open(folder)).getMessage();
    assertTrue(message.contains("holds 2 GGUF files, among them a.gguf, b.gguf"), message);
  }

  @Test
  void everyNameTranslatesBack() {
    GgufNames names = GgufNames.of("llama");
    for (String name :
        shapes(with(LLAMA, "\"attention_bias\": true, \"mlp_bias\": true")).keySet()) {
      assertEquals(name, names.toHuggingFace(names.toGguf(name)));
    }
    assertEquals("blk.x.y", names.toHuggingFace("blk.x.y"));
    assertEquals("other", names.toGguf("other"));
  }
}

package ai.sluice.checkpoint;

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
import ai.sluice.proto.WeightSource;
import ai.sluice.proto.WeightTransfer;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.common.primitives.Longs;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The forms in which checkpoints store experts, and what is said of a damaged one. */
class MoeCheckpointTest {
  private static final String QWEN3_MOE =
      """
      {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 64,
       "intermediate_size": 96, "moe_intermediate_size": 32, "num_hidden_layers": 4,
       "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 40, "num_experts": 20,
       "num_experts_per_tok": 3, "norm_topk_prob": true, "max_position_embeddings": 128}
      """;
  private static final String EXPERTS = "model.layers.3.mlp.experts.";

  @TempDir Path root;

  /** Tensors by name with dtypes of their own. */
  private static final class Tensors {
    final Map<String, List<Long>> shapes = new LinkedHashMap<>();
    final Map<String, DType> dtypes = new LinkedHashMap<>();

    Tensors(ObjectNode config) {
      shapes.putAll(TestModels.shapes(config));
    }

    Tensors put(String name, DType dtype, Long... shape) {
      shapes.put(name, List.of(shape));
      dtypes.put(name, dtype);
      return this;
    }

    Tensors remove(String part) {
      shapes.keySet().removeIf(name -> name.contains(part));
      return this;
    }
  }

  private Checkpoint open(ObjectNode config, Tensors tensors) {
    SafetensorsBytes bytes = new SafetensorsBytes();
    tensors.shapes.forEach(
        (name, shape) ->
            bytes.add(name, tensors.dtypes.getOrDefault(name, DType.F32), Longs.toArray(shape)));
    try {
      Path folder = Files.createDirectories(root.resolve("model"));
      Files.writeString(folder.resolve("config.json"), config.toString());
      Files.write(folder.resolve("model.safetensors"), bytes.bytes());
      return Checkpoint.open(folder);
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  private String failure(Class<? extends SluiceException> type, ObjectNode config, Tensors with) {
    return assertThrows(type, () -> open(config, with)).getMessage();
  }

  private static WeightTransfer transfer(Checkpoint checkpoint, Slot slot, int layer, Part part) {
    List<WeightTransfer> found =
        checkpoint.weights().getTransfersList().stream()
            .filter(t -> t.getDestination().getSlot() == slot)
            .filter(t -> t.getDestination().getLayer() == layer)
            .filter(t -> t.getDestination().getPart() == part)
            .toList();
    assertEquals(1, found.size());
    assertEquals(-1, found.get(0).getDestination().getExpert());
    return found.get(0);
  }

  @Test
  void namesTheMissingExpert() {
    ObjectNode config = TestModels.json(QWEN3_MOE);
    String one =
        failure(
            CheckpointFormatException.class,
            config,
            new Tensors(config).remove(EXPERTS + "17.up_proj.weight"));
    assertTrue(
        one.endsWith(
            EXPERTS
                + "17.up_proj.weight: missing: expert 17 of layer 3 (expected: a tensor of shape"
                + " [32, 64])"),
        one);
    String whole =
        failure(
            CheckpointFormatException.class, config, new Tensors(config).remove(EXPERTS + "17."));
    assertTrue(whole.contains("missing: expert 17 of layer 3, as are 2 others"), whole);
    String tooMany =
        failure(
            CheckpointFormatException.class,
            config,
            new Tensors(config).put(EXPERTS + "20.up_proj.weight", DType.F32, 32L, 64L));
    assertTrue(tooMany.contains(EXPERTS + "20.up_proj.weight: F32 [32, 64] is no"), tooMany);
  }

  @Test
  void aMillionMissingExpertsCostNothing() {
    ObjectNode config = TestModels.json(QWEN3_MOE);
    Tensors few = new Tensors(config);
    config.put("num_experts", 65_536).put("num_hidden_layers", 1024);
    String message = failure(CheckpointFormatException.class, config, few);
    assertTrue(message.contains("as are more than 1000 others"), message);
  }

  @Test
  void namesTheExpertOfAnotherShape() {
    ObjectNode config = TestModels.json(QWEN3_MOE);
    String message =
        failure(
            CheckpointFormatException.class,
            config,
            new Tensors(config).put(EXPERTS + "2.down_proj.weight", DType.F32, 64L, 31L));
    assertTrue(
        message.contains(EXPERTS + "2.down_proj.weight: shape: [64, 31] (expected: [64, 32]"),
        message);
  }

  @Test
  void expertsMayBeStacked() {
    ObjectNode config = TestModels.json(QWEN3_MOE);
    Checkpoint checkpoint =
        open(
            config,
            new Tensors(config)
                .remove(EXPERTS)
                .put(EXPERTS + "gate_up_proj", DType.BF16, 20L, 64L, 64L)
                .put(EXPERTS + "down_proj", DType.BF16, 20L, 64L, 32L));
    WeightSource gate = transfer(checkpoint, Slot.EXPERT_GATE_UP, 3, Part.PART_GATE).getSource();
    WeightSource up = transfer(checkpoint, Slot.EXPERT_GATE_UP, 3, Part.PART_UP).getSource();
    WeightSource down = transfer(checkpoint, Slot.EXPERT_DOWN, 3, Part.WHOLE).getSource();
    assertEquals(List.of(20L, 32L, 64L), gate.getShapeList());
    assertEquals(List.of(4096L, 64L, 1L), gate.getStridesList());
    assertEquals(2 * 32 * 64, up.getOffset() - gate.getOffset());
    assertEquals(2 * (19 * 4096 + 32 * 64), up.getBytes());
    assertFalse(up.getTransposed());
    assertEquals(List.of(20L, 64L, 32L), down.getShapeList());
    assertEquals(0, down.getStridesCount());
    // The layers before keep the other form.
    assertEquals(
        20,
        checkpoint.weights().getTransfersList().stream()
            .filter(t -> t.getDestination().getSlot() == Slot.EXPERT_DOWN)
            .filter(t -> t.getDestination().getLayer() == 0)
            .count());
    String half =
        failure(
            CheckpointFormatException.class,
            config,
            new Tensors(config)
                .remove(EXPERTS)
                .put(EXPERTS + "gate_up_proj", DType.BF16, 20L, 64L, 64L));
    assertTrue(half.contains(EXPERTS + "down_proj: missing (expected: a tensor"), half);
  }

  @Test
  void denseLayersAmongSparseOnes() {
    ObjectNode config = TestModels.json(QWEN3_MOE);
    config.put("decoder_sparse_step", 2);
    config.putArray("mlp_only_layers").add(3);
    ModelSpec spec = TestModels.plan(config).spec();
    assertEquals(
        List.of(false, true, false, false),
        spec.getLayersList().stream().map(layer -> layer.hasMoe()).toList());
    assertEquals(96, spec.getLayers(0).getDense().getIntermediateSize());
  }

  private static ObjectNode fp8(String base) {
    ObjectNode config = TestModels.json(base);
    ObjectNode quantization = config.putObject("quantization_config");
    quantization.put("quant_method", "fp8").put("fmt", "e4m3").put("activation_scheme", "dynamic");
    quantization.putArray("weight_block_size").add(16).add(24);
    return config;
  }

  @Test
  void float8HasAScalePerBlock() {
    ObjectNode config = fp8(QWEN3_MOE);
    String q = "model.layers.0.self_attn.q_proj.weight";
    Tensors tensors = new Tensors(config).put(q, DType.F8_E4M3, 64L, 64L);
    String missing = failure(CheckpointFormatException.class, config, tensors);
    assertTrue(missing.contains(q + "_scale_inv: missing (expected: the scales of " + q), missing);
    tensors.put(q + "_scale_inv", DType.F32, 4L, 2L);
    String shape = failure(CheckpointFormatException.class, config, tensors);
    assertTrue(
        shape.contains(
            q + "_scale_inv: shape: [4, 2] (expected: [4, 3], one per block of 16 x 24 of " + q),
        shape);
    tensors.put(q + "_scale_inv", DType.F32, 4L, 3L);
    Checkpoint checkpoint = open(config, tensors);
    WeightSource source = transfer(checkpoint, Slot.QKV, 0, Part.PART_Q).getSource();
    assertEquals(Format.F8_E4M3, source.getFormat());
    assertEquals(4096, source.getBytes());
    assertEquals(16, source.getScaleBlockRows());
    assertEquals(24, source.getScaleBlockColumns());
    TensorInfo scales = checkpoint.tensors().get(q + "_scale_inv");
    assertEquals(Format.F32, source.getScale().getFormat());
    assertEquals(List.of(4L, 3L), source.getScale().getShapeList());
    assertEquals(scales.offset(), source.getScale().getOffset());
    assertEquals(48, source.getScale().getBytes());
    assertEquals(checkpoint.tensors().totalBytes(), checkpoint.summary().totalBytes());

    config.remove("quantization_config");
    String unscaled = failure(UnsupportedModelException.class, config, tensors);
    assertTrue(unscaled.contains("dtype: F8_E4M3 (expected: F16, BF16"), unscaled);
  }

  @Test
  void stackedFloat8StartsOnABlock() {
    ObjectNode config = fp8(QWEN3_MOE);
    Tensors tensors =
        new Tensors(config)
            .remove(EXPERTS)
            .put(EXPERTS + "gate_up_proj", DType.F8_E4M3, 20L, 64L, 64L)
            .put(EXPERTS + "gate_up_proj_scale_inv", DType.F32, 20L, 4L, 3L)
            .put(EXPERTS + "down_proj", DType.F8_E4M3, 20L, 64L, 32L)
            .put(EXPERTS + "down_proj_scale_inv", DType.BF16, 20L, 4L, 2L);
    Checkpoint checkpoint = open(config, tensors);
    WeightSource gate =
        transfer(checkpoint, Slot.EXPERT_GATE_UP, 3, Part.PART_GATE).getSource().getScale();
    WeightSource up =
        transfer(checkpoint, Slot.EXPERT_GATE_UP, 3, Part.PART_UP).getSource().getScale();
    assertEquals(List.of(20L, 2L, 3L), up.getShapeList());
    assertEquals(List.of(12L, 3L, 1L), up.getStridesList());
    assertEquals(4 * 2 * 3, up.getOffset() - gate.getOffset());
    assertEquals(4 * (19 * 12 + 6), up.getBytes());
    WeightSource down =
        transfer(checkpoint, Slot.EXPERT_DOWN, 3, Part.WHOLE).getSource().getScale();
    assertEquals(Format.BF16, down.getFormat());
    assertEquals(List.of(20L, 4L, 2L), down.getShapeList());

    ((ObjectNode) config.get("quantization_config")).putArray("weight_block_size").add(24).add(24);
    tensors.put(EXPERTS + "gate_up_proj_scale_inv", DType.F32, 20L, 3L, 3L);
    String message = failure(UnsupportedModelException.class, config, tensors);
    assertTrue(message.contains("taken in another order than blocks of 24 x 24"), message);
  }

  @Test
  void deepseekV3AsItIsPublished() {
    Checkpoint checkpoint = Checkpoint.open(Fixtures.folder("deepseek_v3_fp8"));
    assertEquals(2, checkpoint.modelSpec().getLayersCount());
    assertEquals(
        1,
        checkpoint.notes().stream()
            .filter(n -> n.startsWith("layer 2 for multi-token prediction is not run: "))
            .count(),
        checkpoint.notes()::toString);
    WeightSource source = transfer(checkpoint, Slot.KV_B, 1, Part.WHOLE).getSource();
    assertEquals(List.of(256L, 32L), source.getShapeList());
    assertEquals(List.of(2L, 1L), source.getScale().getShapeList());
    assertEquals(128, source.getScaleBlockRows());
    assertEquals(DType.F8_E4M3, checkpoint.storedDType());
  }

  @Test
  void aLayerBehindTheLastIsSetAsideOnlyIfItPredicts() {
    Path folder = Fixtures.folder("deepseek_v3");
    ObjectNode config = TestModels.json(read(folder.resolve("config.json")));
    config.put("num_nextn_predict_layers", 1);
    Tensors tensors = new Tensors(config);
    String extra = "model.layers.3.enorm.weight";
    tensors.put(extra, DType.F32, 64L);
    String message = failure(CheckpointFormatException.class, config, tensors);
    assertTrue(message.contains(extra + ": F32 [64] is no tensor of this deepseek_v3"), message);
    tensors.put("model.layers.3.eh_proj.weight", DType.F32, 64L, 128L);
    Checkpoint checkpoint = open(config, tensors);
    assertEquals(
        List.of("layer 3 for multi-token prediction is not run: 2 tensors are set aside"),
        checkpoint.notes());
    config.put("num_nextn_predict_layers", 0);
    message = failure(CheckpointFormatException.class, config, tensors);
    assertTrue(message.contains("as is 1 other"), message);
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  @Test
  void mxfp4ExpertsAsTheyArePublished() {
    Checkpoint checkpoint = Checkpoint.open(Fixtures.folder("gpt_oss_mxfp4"));
    assertEquals(List.of(), checkpoint.notes());
    String name = "model.layers.1.mlp.experts.gate_up_proj_blocks";
    TensorInfo blocks = checkpoint.tensors().get(name);
    TensorInfo scales = checkpoint.tensors().get(name.replace("_blocks", "_scales"));
    WeightTransfer gate = transfer(checkpoint, Slot.EXPERT_GATE_UP, 1, Part.PART_GATE);
    WeightSource up = transfer(checkpoint, Slot.EXPERT_GATE_UP, 1, Part.PART_UP).getSource();
    assertEquals(name, gate.getName());
    assertEquals(Format.MXFP4_SPLIT, up.getFormat());
    assertEquals(List.of(6L, 64L, 96L), up.getShapeList());
    assertEquals(List.of(128L * 96, 192L, 1L), up.getStridesList());
    assertEquals(blocks.offset(), gate.getSource().getOffset());
    // The second row: 3 blocks of 16 bytes on.
    assertEquals(blocks.offset() + 48, up.getOffset());
    assertEquals(blocks.byteLength() - 48, up.getBytes());
    assertEquals(1, up.getScaleBlockRows());
    assertEquals(32, up.getScaleBlockColumns());
    assertEquals(Format.F8_E8M0, up.getScale().getFormat());
    assertEquals(List.of(6L, 64L, 3L), up.getScale().getShapeList());
    assertEquals(List.of(128L * 3, 6L, 1L), up.getScale().getStridesList());
    assertEquals(scales.offset() + 3, up.getScale().getOffset());
    assertEquals(scales.byteLength() - 3, up.getScale().getBytes());
    WeightSource down = transfer(checkpoint, Slot.EXPERT_DOWN, 1, Part.WHOLE).getSource();
    assertEquals(List.of(6L, 96L, 64L), down.getShapeList());
    assertEquals(List.of(6L, 96L, 2L), down.getScale().getShapeList());
    // 6 experts of 3 matrices of 64 x 96 in 3 layers.
    assertEquals(3L * 6 * 3 * 64 * 96, checkpoint.summary().elementsByDType().get(DType.MXFP4));
  }

  @Test
  void deepseekMoe() {
    Checkpoint checkpoint = Checkpoint.open(Fixtures.folder("deepseek"));
    ModelSpec spec = checkpoint.modelSpec();
    assertEquals("deepseek", spec.getArchitecture());
    assertTrue(spec.getLayers(0).hasDense());
    assertEquals(48, spec.getLayers(1).getMoe().getShared().getIntermediateSize());
    assertFalse(spec.getLayers(1).getMoe().getNormalizeTopK());
    assertEquals(4, spec.getLayers(1).getGqa().getNumKvHeads());
    assertFalse(spec.getRopes(0).getInterleaved());
  }

  @Test
  void theStoredShapeOfTheCompressionDecides() {
    ObjectNode config =
        TestModels.json(read(Fixtures.folder("adaptive_moe").resolve("config.json")));
    String prefix = "memory_compression.";
    Tensors tensors =
        new Tensors(config)
            .put(prefix + "encoder.weight", DType.F32, 26L, 64L)
            .put(prefix + "encoder.bias", DType.F32, 26L)
            .put(prefix + "decoder.weight", DType.F32, 64L, 26L);
    assertEquals(26, open(config, tensors).modelSpec().getCompression().getCompressedSize());
    tensors.put(prefix + "decoder.weight", DType.F32, 64L, 25L);
    String message = failure(CheckpointFormatException.class, config, tensors);
    assertTrue(message.contains("shape: [64, 25] (expected: [64, 26]"), message);
  }
}

package ai.sluice.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.SluiceException;
import ai.sluice.api.UnsupportedModelException;
import ai.sluice.proto.Format;
import ai.sluice.proto.GroupScore;
import ai.sluice.proto.MlaSpec;
import ai.sluice.proto.ModelSpec;
import ai.sluice.proto.MoeSpec;
import ai.sluice.proto.NormSpec;
import ai.sluice.proto.Part;
import ai.sluice.proto.RouterScore;
import ai.sluice.proto.Slot;
import ai.sluice.proto.WeightSource;
import ai.sluice.proto.WeightTransfer;
import com.google.common.primitives.Longs;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** GGUF files of models with experts and latent attention. */
class GgufMixturesTest {
  private static final long HIDDEN = 32;
  private static final long EXPERTS = 8;
  private static final long WIDTH = 16;

  @TempDir Path root;
  private final Map<String, long[]> tensors = new LinkedHashMap<>();

  private static GgufBytes keys(String architecture) {
    return keys(architecture, 2, 4);
  }

  private static GgufBytes keys(String architecture, int layers, int heads) {
    return new GgufBytes()
        .key("general.architecture", architecture)
        .key(architecture + ".block_count", layers)
        .key(architecture + ".context_length", 128)
        .key(architecture + ".embedding_length", (int) HIDDEN)
        .key(architecture + ".feed_forward_length", 64)
        .key(architecture + ".attention.head_count", heads)
        .key(architecture + ".attention.layer_norm_rms_epsilon", 1e-6f)
        .key(architecture + ".rope.freq_base", 10000f)
        .key(architecture + ".expert_count", (int) EXPERTS)
        .key(architecture + ".expert_used_count", 3);
  }

  private Checkpoint open(GgufBytes bytes) {
    tensors.forEach((name, shape) -> bytes.add(name, DType.F32, 0, shape));
    return Checkpoint.open(TestModels.write(root.resolve("tiny.gguf"), bytes));
  }

  private String failure(Class<? extends SluiceException> type, GgufBytes bytes) {
    return assertThrows(type, () -> open(bytes)).getMessage();
  }

  private void ends() {
    tensors.put("token_embd.weight", new long[] {40, HIDDEN});
    tensors.put("output_norm.weight", new long[] {HIDDEN});
    tensors.put("output.weight", new long[] {40, HIDDEN});
    for (int i = 0; i < 2; i++) {
      tensors.put("blk." + i + ".attn_norm.weight", new long[] {HIDDEN});
      tensors.put("blk." + i + ".ffn_norm.weight", new long[] {HIDDEN});
    }
  }

  private void layer(int layer, Map<String, List<Long>> shapes) {
    shapes.forEach((name, shape) -> tensors.put("blk." + layer + "." + name, Longs.toArray(shape)));
  }

  private void gqa(int layer, long headDim) {
    layer(
        layer,
        Map.of(
            "attn_q.weight", List.of(4 * headDim, HIDDEN),
            "attn_k.weight", List.of(4 * headDim, HIDDEN),
            "attn_v.weight", List.of(4 * headDim, HIDDEN),
            "attn_output.weight", List.of(HIDDEN, 4 * headDim)));
  }

  private void experts(int layer) {
    layer(
        layer,
        Map.of(
            "ffn_gate_inp.weight", List.of(EXPERTS, HIDDEN),
            "ffn_gate_exps.weight", List.of(EXPERTS, WIDTH, HIDDEN),
            "ffn_up_exps.weight", List.of(EXPERTS, WIDTH, HIDDEN),
            "ffn_down_exps.weight", List.of(EXPERTS, HIDDEN, WIDTH)));
  }

  private void shared(int layer, long width) {
    layer(
        layer,
        Map.of(
            "ffn_gate_shexp.weight", List.of(width, HIDDEN),
            "ffn_up_shexp.weight", List.of(width, HIDDEN),
            "ffn_down_shexp.weight", List.of(HIDDEN, width)));
  }

  private void dense(int layer) {
    layer(
        layer,
        Map.of(
            "ffn_gate.weight", List.of(64L, HIDDEN),
            "ffn_up.weight", List.of(64L, HIDDEN),
            "ffn_down.weight", List.of(HIDDEN, 64L)));
  }

  private static List<WeightTransfer> transfers(Checkpoint checkpoint, Slot slot, int layer) {
    return checkpoint.weights().getTransfersList().stream()
        .filter(t -> t.getDestination().getSlot() == slot)
        .filter(t -> t.getDestination().getLayer() == layer)
        .toList();
  }

  @Test
  void gptOssIsTheModelOfItsSafetensors() {
    Checkpoint gguf = Checkpoint.open(Fixtures.folder("gpt_oss_gguf"));
    Checkpoint folder = Checkpoint.open(Fixtures.folder("gpt_oss_mxfp4"));
    assertEquals(List.of(), gguf.notes());
    ModelSpec.Builder expected = folder.modelSpec().toBuilder();
    // The epsilon is stored in single precision.
    NormSpec norm = expected.getFinalNorm().toBuilder().setEps(1e-5f).build();
    expected.setFinalNorm(norm);
    expected
        .getLayersBuilderList()
        .forEach(layer -> layer.setAttentionNorm(norm).setFeedForwardNorm(norm));
    assertEquals(expected.build(), gguf.modelSpec());
    WeightTransfer gate = transfers(gguf, Slot.EXPERT_GATE_UP, 1).get(0);
    assertEquals("blk.1.ffn_gate_exps.weight", gate.getName());
    assertEquals(Part.PART_GATE, gate.getDestination().getPart());
    assertEquals(Format.MXFP4, gate.getSource().getFormat());
    assertEquals(List.of(6L, 64L, 96L), gate.getSource().getShapeList());
    assertEquals(3, transfers(gguf, Slot.EXPERT_GATE_UP_BIAS, 1).size() + 1);
    assertEquals(
        folder.summary().elementsByDType().get(DType.MXFP4),
        gguf.summary().elementsByDType().get(DType.MXFP4));
    assertEquals(folder.summary().numParameters(), gguf.summary().numParameters());
  }

  @Test
  void mixtralIsALlamaWithExperts() {
    ends();
    for (int i = 0; i < 2; i++) {
      gqa(i, 8);
      layer(
          i,
          Map.of(
              "ffn_gate_inp.weight", List.of(EXPERTS, HIDDEN),
              "ffn_gate_exps.weight", List.of(EXPERTS, 64L, HIDDEN),
              "ffn_up_exps.weight", List.of(EXPERTS, 64L, HIDDEN),
              "ffn_down_exps.weight", List.of(EXPERTS, HIDDEN, 64L)));
    }
    Checkpoint checkpoint = open(keys("llama").key("llama.rope.dimension_count", 8));
    assertEquals("mixtral", checkpoint.architecture());
    MoeSpec moe = checkpoint.modelSpec().getLayers(1).getMoe();
    assertTrue(moe.getNormalizeTopK());
    assertEquals(3, moe.getNumExpertsPerToken());
    assertEquals(64, moe.getExpertIntermediateSize());
    assertTrue(checkpoint.modelSpec().getRopes(0).getInterleaved());
    tensors.remove("blk.1.ffn_up_exps.weight");
    String message =
        failure(
            CheckpointFormatException.class, keys("llama").key("llama.rope.dimension_count", 8));
    assertTrue(message.contains("blk.1.ffn_up_exps.weight: missing (expected: a"), message);
  }

  @Test
  void qwen3MoeNormalises() {
    ends();
    for (int i = 0; i < 2; i++) {
      gqa(i, 16);
      experts(i);
      layer(i, Map.of("attn_q_norm.weight", List.of(16L), "attn_k_norm.weight", List.of(16L)));
    }
    Checkpoint checkpoint =
        open(
            keys("qwen3moe")
                .key("qwen3moe.attention.key_length", 16)
                .key("qwen3moe.attention.value_length", 16)
                .key("qwen3moe.expert_feed_forward_length", (int) WIDTH));
    MoeSpec moe = checkpoint.modelSpec().getLayers(0).getMoe();
    assertTrue(moe.getNormalizeTopK());
    assertEquals(WIDTH, moe.getExpertIntermediateSize());
    assertEquals(
        List.of(EXPERTS, HIDDEN, WIDTH),
        transfers(checkpoint, Slot.EXPERT_DOWN, 1).get(0).getSource().getShapeList());
    GgufBytes otherwise =
        keys("qwen3moe")
            .key("qwen3moe.attention.key_length", 16)
            .key("qwen3moe.attention.value_length", 16)
            .key("qwen3moe.expert_weights_norm", false)
            .key("qwen3moe.expert_feed_forward_length", (int) WIDTH);
    assertFalse(open(otherwise).modelSpec().getLayers(0).getMoe().getNormalizeTopK());
  }

  @Test
  void deepseekMoeTurnsNeighbours() {
    ends();
    gqa(0, 8);
    gqa(1, 8);
    dense(0);
    experts(1);
    shared(1, 2 * WIDTH);
    Checkpoint checkpoint =
        open(
            keys("deepseek")
                .key("deepseek.rope.dimension_count", 8)
                .key("deepseek.rope.scaling.type", "none")
                .key("deepseek.leading_dense_block_count", 1)
                .key("deepseek.expert_feed_forward_length", (int) WIDTH)
                .key("deepseek.expert_shared_count", 2)
                .key("deepseek.expert_weights_scale", 1f));
    ModelSpec spec = checkpoint.modelSpec();
    assertTrue(spec.getRopes(0).getInterleaved());
    assertTrue(spec.getLayers(0).hasDense());
    assertEquals(2 * WIDTH, spec.getLayers(1).getMoe().getShared().getIntermediateSize());
  }

  private GgufBytes deepseek2() {
    return deepseek2(2, 4);
  }

  private GgufBytes deepseek2(int layers, int heads) {
    return keys("deepseek2", layers, heads)
        .key("deepseek2.rope.dimension_count", 8)
        .key("deepseek2.leading_dense_block_count", 1)
        .key("deepseek2.expert_feed_forward_length", (int) WIDTH)
        .key("deepseek2.expert_shared_count", 1)
        .key("deepseek2.attention.q_lora_rank", 24)
        .key("deepseek2.attention.kv_lora_rank", 20)
        .key("deepseek2.rope.scaling.type", "yarn")
        .key("deepseek2.rope.scaling.factor", 8f)
        .key("deepseek2.rope.scaling.original_context_length", 32)
        .key("deepseek2.rope.scaling.yarn_log_multiplier", 0.0707f);
  }

  private void latent(int layer) {
    layer(
        layer,
        Map.of(
            "attn_q_a.weight", List.of(24L, HIDDEN),
            "attn_q_a_norm.weight", List.of(24L),
            "attn_q_b.weight", List.of(4L * 24, 24L),
            "attn_kv_a_mqa.weight", List.of(28L, HIDDEN),
            "attn_kv_a_norm.weight", List.of(20L),
            "attn_output.weight", List.of(HIDDEN, 4L * 12)));
  }

  private void deepseek2Layers() {
    ends();
    latent(0);
    latent(1);
    dense(0);
    experts(1);
    shared(1, WIDTH);
  }

  @Test
  void olderDeepseekTwo() {
    deepseek2Layers();
    layer(0, Map.of("attn_kv_b.weight", List.of(4L * 28, 20L)));
    layer(1, Map.of("attn_kv_b.weight", List.of(4L * 28, 20L)));
    Checkpoint checkpoint =
        open(
            deepseek2()
                .key("deepseek2.attention.head_count_kv", 4)
                .key("deepseek2.attention.key_length", 24)
                .key("deepseek2.attention.value_length", 12)
                .key("deepseek2.expert_weights_scale", 16f)
                .key("deepseek2.expert_gating_func", 1)
                .key("deepseek2.expert_group_count", 4)
                .key("deepseek2.expert_group_used_count", 2));
    assertEquals("deepseek_v2", checkpoint.architecture());
    ModelSpec spec = checkpoint.modelSpec();
    MlaSpec mla = spec.getLayers(1).getMla();
    assertEquals(16, mla.getQkNopeHeadDim());
    assertEquals(8, mla.getQkRopeHeadDim());
    assertEquals(12, mla.getVHeadDim());
    assertEquals(24, mla.getQLoraRank());
    double mscale = 1 + 0.0707 * Math.log(8);
    assertEquals(mscale * mscale / Math.sqrt(24), mla.getSoftmaxScale(), 1e-8);
    assertEquals(1, spec.getRopes(0).getVariants(0).getAttentionScale());
    assertTrue(spec.getRopes(0).getInterleaved());
    MoeSpec moe = spec.getLayers(1).getMoe();
    assertEquals(RouterScore.ROUTER_SOFTMAX, moe.getRouter());
    assertEquals(16, moe.getRoutedScalingFactor());
    assertEquals(4, moe.getNumGroups());
    assertEquals(GroupScore.GROUP_MAX, moe.getGroupScore());
  }

  @Test
  void newerDeepseekTwoKeepsTheHalvesApart() {
    deepseek2Layers();
    for (int i = 0; i < 2; i++) {
      layer(
          i,
          Map.of(
              "attn_k_b.weight", List.of(4L, 20L, 16L), "attn_v_b.weight", List.of(4L, 12L, 20L)));
    }
    layer(1, Map.of("exp_probs_b.bias", List.of(EXPERTS)));
    GgufBytes keys =
        deepseek2()
            .key("deepseek2.attention.head_count_kv", 1)
            .key("deepseek2.attention.key_length", 28)
            .key("deepseek2.attention.value_length", 20)
            .key("deepseek2.attention.key_length_mla", 24)
            .key("deepseek2.attention.value_length_mla", 12)
            .key("deepseek2.expert_gating_func", 2)
            .key("deepseek2.expert_group_count", 2)
            .key("deepseek2.expert_group_used_count", 1);
    Checkpoint checkpoint = open(keys);
    assertEquals("deepseek_v3", checkpoint.architecture());
    MoeSpec moe = checkpoint.modelSpec().getLayers(1).getMoe();
    assertEquals(RouterScore.ROUTER_SIGMOID, moe.getRouter());
    // Written only where they are so.
    assertEquals(1, moe.getRoutedScalingFactor());
    assertTrue(!moe.getNormalizeTopK());
    List<WeightTransfer> kvB = transfers(checkpoint, Slot.KV_B, 1);
    assertEquals(8, kvB.size());
    WeightTransfer k = kvB.get(2);
    WeightTransfer v = kvB.get(3);
    assertEquals("blk.1.attn_k_b.weight", k.getName());
    assertEquals(28, k.getDestination().getRowBegin());
    assertEquals(16, k.getDestination().getNumRows());
    assertTrue(k.getSource().getTransposed());
    assertEquals(List.of(20L, 16L), k.getSource().getShapeList());
    assertEquals(4 * 20 * 16, k.getSource().getOffset() - kvB.get(0).getSource().getOffset());
    assertEquals(44, v.getDestination().getRowBegin());
    assertEquals(12, v.getDestination().getNumRows());
    assertEquals(List.of(12L, 20L), v.getSource().getShapeList());
    assertEquals(checkpoint.tensors().totalElements(), checkpoint.summary().numParameters());
  }

  /** Thirty million halves of heads in a file of some kilobytes. */
  @Test
  void headsThatAreMissingCostNothing() {
    deepseek2Layers();
    tensors.put("blk.0.attn_k_b.weight", new long[] {16_384, 1, 1});
    GgufBytes keys =
        deepseek2(1024, 16_384)
            .key("deepseek2.attention.key_length_mla", 24)
            .key("deepseek2.attention.value_length_mla", 12);
    long before = Allocation.bytes();
    String message = failure(CheckpointFormatException.class, keys);
    long allocated = Allocation.bytes() - before;
    assertTrue(message.contains("as are more than 1000 others"), message);
    assertTrue(allocated < 500_000_000, allocated + " bytes");
  }

  @Test
  void refusesWhatItsFilesDoNotSayByName() {
    deepseek2Layers();
    GgufBytes noSizes = deepseek2();
    String size = failure(CheckpointFormatException.class, noSizes);
    assertTrue(size.contains("deepseek2.attention.key_length: missing (expected: a"), size);
    GgufBytes gating =
        deepseek2()
            .key("deepseek2.attention.key_length", 24)
            .key("deepseek2.attention.value_length", 12)
            .key("deepseek2.expert_gating_func", 7);
    String message = failure(UnsupportedModelException.class, gating);
    assertTrue(message.contains("deepseek2.expert_gating_func: 7 (expected: softmax"), message);
    GgufBytes temperature =
        deepseek2()
            .key("deepseek2.attention.key_length", 24)
            .key("deepseek2.attention.value_length", 12)
            .key("deepseek2.attention.temperature_scale", 0.1f);
    message = failure(UnsupportedModelException.class, temperature);
    assertTrue(message.contains("deepseek2.attention.temperature_scale: 0.1"), message);
  }

  @Test
  void theTurnedHalfMayBeQuantizedWhereItsRowsAreWholeBlocks() {
    deepseek2Layers();
    GgufBytes keys =
        deepseek2()
            .key("deepseek2.attention.key_length_mla", 40)
            .key("deepseek2.attention.value_length_mla", 12)
            .key("deepseek2.expert_gating_func", 2)
            .key("deepseek2.expert_group_count", 1)
            .key("deepseek2.expert_group_used_count", 1);
    layer(1, Map.of("exp_probs_b.bias", List.of(EXPERTS)));
    for (int i = 0; i < 2; i++) {
      layer(
          i,
          Map.of(
              "attn_q_b.weight", List.of(4L * 40, 24L),
              "attn_v_b.weight", List.of(4L, 12L, 20L)));
      keys.add("blk." + i + ".attn_k_b.weight", DType.Q8_0, 8, 4, 20, 32);
    }
    List<WeightTransfer> kvB = transfers(open(keys), Slot.KV_B, 1);
    WeightSource first = kvB.get(0).getSource();
    WeightSource second = kvB.get(2).getSource();
    assertEquals(Format.Q8_0, second.getFormat());
    assertTrue(second.getTransposed());
    assertEquals(List.of(20L, 32L), second.getShapeList());
    assertEquals(20 * 34, second.getBytes());
    assertEquals(20 * 34, second.getOffset() - first.getOffset());
  }
}

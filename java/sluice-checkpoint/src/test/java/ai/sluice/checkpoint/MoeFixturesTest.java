package ai.sluice.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.proto.Activation;
import ai.sluice.proto.AdaptiveAttentionKind;
import ai.sluice.proto.AdaptiveAttentionSpec;
import ai.sluice.proto.Format;
import ai.sluice.proto.GroupScore;
import ai.sluice.proto.HeadKind;
import ai.sluice.proto.KvGroupSpec;
import ai.sluice.proto.LayerSpec;
import ai.sluice.proto.MlaSpec;
import ai.sluice.proto.ModelSpec;
import ai.sluice.proto.MoeSpec;
import ai.sluice.proto.NormKind;
import ai.sluice.proto.Part;
import ai.sluice.proto.RopeSpec;
import ai.sluice.proto.RouterScore;
import ai.sluice.proto.Slot;
import ai.sluice.proto.WeightDestination;
import ai.sluice.proto.WeightSource;
import ai.sluice.proto.WeightTransfer;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The parity fixtures with experts, latent attention, sinks and adaptive attention. */
class MoeFixturesTest {
  private static Checkpoint open(String name) {
    return Checkpoint.open(Fixtures.folder(name));
  }

  private static WeightTransfer transfer(Checkpoint checkpoint, Slot slot, int layer, Part part) {
    return transfer(checkpoint, slot, layer, part, -1);
  }

  private static WeightTransfer transfer(
      Checkpoint checkpoint, Slot slot, int layer, Part part, int expert) {
    List<WeightTransfer> found =
        checkpoint.weights().getTransfersList().stream()
            .filter(t -> t.getDestination().getSlot() == slot)
            .filter(t -> t.getDestination().getLayer() == layer)
            .filter(t -> t.getDestination().getPart() == part)
            .filter(t -> t.getDestination().getExpert() == expert)
            .toList();
    assertEquals(1, found.size(), slot + " of layer " + layer + " " + part + " " + expert);
    return found.get(0);
  }

  /** Every value of every tensor goes somewhere, and none goes to two places. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "mixtral",
        "qwen3_moe",
        "deepseek_v2",
        "deepseek_v2_grouped",
        "deepseek_v3",
        "gpt_oss",
        "adaptive_moe",
        "adaptive_moe_sparse"
      })
  void usesEveryValueOnce(String name) {
    Checkpoint checkpoint = open(name);
    assertEquals(List.of(), checkpoint.notes());
    Map<String, BitSet> taken = new HashMap<>();
    for (WeightTransfer transfer : checkpoint.weights().getTransfersList()) {
      TensorInfo tensor = checkpoint.tensors().get(transfer.getName());
      WeightSource source = transfer.getSource();
      assertEquals(Format.F32, source.getFormat());
      long first = (source.getOffset() - tensor.offset()) / 4;
      BitSet bits = taken.computeIfAbsent(tensor.name(), n -> new BitSet());
      long last = mark(bits, first, source, 0);
      assertEquals((last - first + 1) * 4, source.getBytes(), tensor.name());
    }
    for (TensorInfo tensor : checkpoint.tensors().tensors()) {
      assertEquals(tensor.elements(), taken.get(tensor.name()).cardinality(), tensor.name());
      assertTrue(taken.get(tensor.name()).length() <= tensor.elements(), tensor.name());
    }
    assertEquals(checkpoint.tensors().totalElements(), checkpoint.summary().numParameters());
    assertEquals(checkpoint.tensors().totalBytes(), checkpoint.summary().totalBytes());
    assertEquals(checkpoint.tensors().size(), checkpoint.summary().numTensors());
  }

  private static long mark(BitSet bits, long at, WeightSource source, int dim) {
    if (dim == source.getShapeCount()) {
      assertFalse(bits.get((int) at), "value " + at + " twice");
      bits.set((int) at);
      return at;
    }
    long stride = 1;
    for (int d = dim + 1; d < source.getShapeCount(); d++) {
      stride *= source.getShape(d);
    }
    stride = source.getStridesCount() == 0 ? stride : source.getStrides(dim);
    long last = at;
    for (int i = 0; i < source.getShape(dim); i++) {
      last = Math.max(last, mark(bits, at + i * stride, source, dim + 1));
    }
    return last;
  }

  @Test
  void mixtral() {
    Checkpoint checkpoint = open("mixtral");
    ModelSpec spec = checkpoint.modelSpec();
    assertEquals("mixtral", spec.getArchitecture());
    assertEquals(2, checkpoint.weights().getFilesCount());
    MoeSpec expected =
        MoeSpec.newBuilder()
            .setNumExperts(8)
            .setNumExpertsPerToken(2)
            .setExpertIntermediateSize(24)
            .setRouter(RouterScore.ROUTER_SOFTMAX)
            .setNormalizeTopK(true)
            .setActivation(spec.getLayers(0).getMoe().getActivation())
            .build();
    assertEquals(expected, spec.getLayers(0).getMoe());
    assertEquals(Activation.SILU, expected.getActivation().getKind());
    assertEquals(16, spec.getLayers(0).getGqa().getHeadDim());
    assertEquals(0, spec.getKvGroups(0).getWindow());
    WeightTransfer gate = transfer(checkpoint, Slot.EXPERT_GATE_UP, 1, Part.PART_GATE, 5);
    assertEquals("model.layers.1.block_sparse_moe.experts.5.w1.weight", gate.getName());
    WeightTransfer up = transfer(checkpoint, Slot.EXPERT_GATE_UP, 1, Part.PART_UP, 5);
    assertEquals("model.layers.1.block_sparse_moe.experts.5.w3.weight", up.getName());
    WeightTransfer down = transfer(checkpoint, Slot.EXPERT_DOWN, 1, Part.WHOLE, 5);
    assertEquals("model.layers.1.block_sparse_moe.experts.5.w2.weight", down.getName());
    assertEquals(List.of(64L, 24L), down.getSource().getShapeList());
  }

  @Test
  void qwen3Moe() {
    ModelSpec spec = open("qwen3_moe").modelSpec();
    assertEquals("qwen3_moe", spec.getArchitecture());
    MoeSpec moe = spec.getLayers(1).getMoe();
    assertEquals(8, moe.getNumExperts());
    assertEquals(3, moe.getNumExpertsPerToken());
    assertEquals(16, moe.getExpertIntermediateSize());
    assertTrue(moe.getNormalizeTopK());
    assertEquals(0, moe.getNormalizeEpsilon());
    assertEquals(32, spec.getLayers(0).getGqa().getHeadDim());
    assertTrue(spec.getLayers(0).getGqa().hasQNorm());
    assertEquals(1, spec.getKvGroupsCount());
  }

  @Test
  void deepseekV2() {
    ModelSpec spec = open("deepseek_v2").modelSpec();
    MlaSpec mla = spec.getLayers(2).getMla();
    assertEquals(4, mla.getNumQHeads());
    assertEquals(0, mla.getQLoraRank());
    assertFalse(mla.hasQANorm());
    assertEquals(32, mla.getKvLoraRank());
    assertEquals(16, mla.getQkNopeHeadDim());
    assertEquals(8, mla.getQkRopeHeadDim());
    assertEquals(16, mla.getVHeadDim());
    // 24^-0.5 by (1 + 0.0707 ln 8) squared.
    double mscale = 1 + 0.1 * 0.707 * Math.log(8);
    assertEquals(mscale * mscale / Math.sqrt(24), mla.getSoftmaxScale(), 1e-15);
    assertEquals(1e-6, mla.getKvANorm().getEps());
    assertTrue(spec.getLayers(0).hasDense());
    assertEquals(64, spec.getLayers(0).getDense().getIntermediateSize());
    MoeSpec moe = spec.getLayers(1).getMoe();
    assertEquals(6, moe.getNumExperts());
    assertEquals(3, moe.getNumExpertsPerToken());
    assertEquals(1, moe.getNumGroups());
    assertEquals(32, moe.getShared().getIntermediateSize());
    assertFalse(moe.getNormalizeTopK());
    assertEquals(RouterScore.ROUTER_SOFTMAX, moe.getRouter());
    assertEquals(1, moe.getRoutedScalingFactor());
    checkYarn(spec.getRopes(0), 10_000, 8, 8, 0, 1, 1);
    assertTrue(spec.getRopes(0).getInterleaved());
    assertEquals(512, spec.getMaxContextLen());
  }

  @Test
  void deepseekV2Grouped() {
    Checkpoint checkpoint = open("deepseek_v2_grouped");
    ModelSpec spec = checkpoint.modelSpec();
    assertEquals(24, spec.getLayers(1).getMla().getQLoraRank());
    assertTrue(spec.getLayers(1).getMla().hasQANorm());
    MoeSpec moe = spec.getLayers(1).getMoe();
    assertEquals(4, moe.getNumGroups());
    assertEquals(2, moe.getNumGroupsPerToken());
    assertEquals(GroupScore.GROUP_MAX, moe.getGroupScore());
    assertEquals(4, moe.getRoutedScalingFactor());
    WeightTransfer kvB = transfer(checkpoint, Slot.KV_B, 0, Part.WHOLE);
    assertEquals("model.layers.0.self_attn.kv_b_proj.weight", kvB.getName());
    assertEquals(List.of(128L, 32L), kvB.getSource().getShapeList());
  }

  @Test
  void deepseekV3() {
    Checkpoint checkpoint = open("deepseek_v3");
    ModelSpec spec = checkpoint.modelSpec();
    MoeSpec moe = spec.getLayers(2).getMoe();
    assertEquals(RouterScore.ROUTER_SIGMOID, moe.getRouter());
    assertTrue(moe.getCorrectionBias());
    assertTrue(moe.getNormalizeTopK());
    assertEquals(1e-20, moe.getNormalizeEpsilon());
    assertEquals(2.5, moe.getRoutedScalingFactor());
    assertEquals(2, moe.getNumGroups());
    assertEquals(1, moe.getNumGroupsPerToken());
    assertEquals(GroupScore.GROUP_TOP2_SUM, moe.getGroupScore());
    assertEquals(16, moe.getShared().getIntermediateSize());
    WeightTransfer bias = transfer(checkpoint, Slot.ROUTER_CORRECTION_BIAS, 1, Part.WHOLE);
    assertEquals("model.layers.1.mlp.gate.e_score_correction_bias", bias.getName());
    double mscale = 1 + 0.1 * Math.log(8);
    assertEquals(
        mscale * mscale / Math.sqrt(24), spec.getLayers(0).getMla().getSoftmaxScale(), 1e-15);
    assertEquals(1, spec.getRopes(0).getVariants(0).getAttentionScale());
  }

  @Test
  void gptOss() {
    Checkpoint checkpoint = open("gpt_oss");
    ModelSpec spec = checkpoint.modelSpec();
    assertTrue(spec.getLayers(0).getGqa().getSinks());
    assertTrue(spec.getLayers(0).getGqa().getOBias());
    assertEquals(List.of(8, 0), windows(spec));
    assertEquals(
        List.of(8, 0), spec.getKvGroupsList().stream().map(KvGroupSpec::getRetention).toList());
    MoeSpec moe = spec.getLayers(1).getMoe();
    assertEquals(RouterScore.ROUTER_TOPK_SOFTMAX, moe.getRouter());
    assertTrue(moe.getRouterBias() && moe.getGateUpBias() && moe.getDownBias());
    assertEquals(Activation.CLAMPED_SWIGLU, moe.getActivation().getKind());
    assertEquals(1.702, moe.getActivation().getAlpha());
    assertEquals(1, moe.getActivation().getBeta());
    assertEquals(7, moe.getActivation().getLimit());
    // 0.1 ln 8 + 1 on both cosine and sine; the softmax scale stays plain.
    checkYarn(spec.getRopes(0), 150_000, 16, 8, 0, 1.0926702402704849, 1 + 0.1 * Math.log(8));
    assertFalse(spec.getRopes(0).getInterleaved());
    assertEquals(0.25, spec.getLayers(0).getGqa().getSoftmaxScale());

    WeightSource gate = transfer(checkpoint, Slot.EXPERT_GATE_UP, 1, Part.PART_GATE).getSource();
    WeightSource up = transfer(checkpoint, Slot.EXPERT_GATE_UP, 1, Part.PART_UP).getSource();
    assertEquals(List.of(4L, 64L, 32L), gate.getShapeList());
    assertEquals(List.of(4096L, 64L, 2L), gate.getStridesList());
    assertTrue(gate.getTransposed());
    assertEquals(4, up.getOffset() - gate.getOffset());
    WeightSource down = transfer(checkpoint, Slot.EXPERT_DOWN, 1, Part.WHOLE).getSource();
    assertEquals(List.of(4L, 32L, 64L), down.getShapeList());
    assertTrue(down.getTransposed());
    WeightSource bias = transfer(checkpoint, Slot.EXPERT_GATE_UP_BIAS, 0, Part.PART_UP).getSource();
    assertEquals(List.of(4L, 32L), bias.getShapeList());
    assertEquals(List.of(64L, 2L), bias.getStridesList());
  }

  private static List<Integer> windows(ModelSpec spec) {
    return spec.getLayersList().stream()
        .map(layer -> spec.getKvGroups(layer.getKvGroup()).getWindow())
        .toList();
  }

  /**
   * The ramp goes from the pair that turns 32 times in 32 positions, below the first, to the one
   * that turns once: dim * ln(32 / 2 pi) / (2 ln theta), rounded up where the settings say so.
   */
  private static void checkYarn(
      RopeSpec rope, double theta, int dim, double factor, double low, double high, double scale) {
    assertEquals(scale, rope.getVariants(0).getAttentionScale(), 1e-15);
    assertEquals(dim / 2, rope.getVariants(0).getInvFreqCount());
    for (int i = 0; i < dim / 2; i++) {
      double plain = Math.pow(theta, -2.0 * i / dim);
      double ramp = Math.min(1, (i - low) / (high - low));
      double want = plain * (1 - ramp) + plain / factor * ramp;
      assertEquals(want, rope.getVariants(0).getInvFreq(i), 1e-12 * want, "frequency " + i);
    }
  }

  @Test
  void adaptiveMoe() {
    Checkpoint checkpoint = open("adaptive_moe");
    ModelSpec spec = checkpoint.modelSpec();
    assertEquals(List.of(0), spec.getKvGroupsList().stream().map(KvGroupSpec::getWindow).toList());
    AdaptiveAttentionSpec full = spec.getLayers(0).getAdaptive();
    assertEquals(AdaptiveAttentionKind.ADAPTIVE_FULL, full.getKind());
    assertEquals(16, full.getHeadDim());
    assertEquals(0.25, full.getSoftmaxScale());
    assertEquals(16, full.getRelativePositions());
    assertTrue(full.getQkvBias() && full.getOBias() && full.getSparseGate());
    assertEquals(0.3, full.getSparseGateThreshold());
    assertFalse(full.hasTopK() || full.hasWindow() || full.hasSparseBlockSize());
    assertEquals(6, spec.getLayers(1).getAdaptive().getTopK());
    MoeSpec moe = spec.getLayers(0).getMoe();
    assertEquals(RouterScore.ROUTER_NOISY_NETWORK, moe.getRouter());
    assertEquals(256, moe.getRouterHiddenSize());
    assertEquals(5, moe.getExpertCapacity());
    assertEquals(16, moe.getCapacityWindow());
    assertFalse(moe.getGated() || moe.getNormalizeTopK());
    assertFalse(spec.hasFinalNorm());
    assertEquals(25, spec.getCompression().getCompressedSize());
    assertEquals(NormKind.LAYER_NORM, spec.getCompression().getNorm().getKind());
    assertEquals(1e-5, spec.getCompression().getNorm().getEps());
    assertEquals(
        List.of(HeadKind.GENERATION, HeadKind.CLASSIFICATION, HeadKind.REASONING),
        spec.getHeadsList().stream().map(h -> h.getKind()).toList());
    assertTrue(spec.getHeads(0).getTied());
    assertEquals(5, spec.getHeads(1).getNumLabels());
    WeightTransfer noise = transfer(checkpoint, Slot.ROUTER_NOISE, 1, Part.WHOLE);
    assertEquals(List.of(8L), noise.getSource().getShapeList());
    WeightDestination reasoning =
        transfer(checkpoint, Slot.HEAD_TRANSFORM_BIAS, -1, Part.WHOLE).getDestination();
    assertEquals(2, reasoning.getHead());
    WeightTransfer up = transfer(checkpoint, Slot.EXPERT_GATE_UP, 1, Part.PART_UP, 7);
    assertEquals("layers.1.moe.experts.7.fc1.weight", up.getName());
  }

  @Test
  void adaptiveMoeSparse() {
    ModelSpec spec = open("adaptive_moe_sparse").modelSpec();
    List<AdaptiveAttentionSpec> kinds =
        spec.getLayersList().stream().map(LayerSpec::getAdaptive).toList();
    assertEquals(6, kinds.get(0).getWindow());
    assertEquals(4, kinds.get(1).getSparseBlockSize());
    assertEquals(2, kinds.get(1).getNumLocalBlocks());
    assertEquals(1, kinds.get(1).getNumGlobalBlocks());
    assertEquals(2, kinds.get(1).getNumRandomBlocks());
    assertEquals(2024, kinds.get(1).getRandomBlockSeed());
    assertEquals(30, kinds.get(2).getBlockKeepPercent());
    assertEquals(4, kinds.get(3).getWindow());
    assertEquals(0.5, kinds.get(3).getDensityThreshold());
    // The first layer sees 6 positions but counts choices over windows of 16.
    assertEquals(
        List.of(16, 0), spec.getKvGroupsList().stream().map(KvGroupSpec::getRetention).toList());
    assertEquals(
        List.of(0, 1, 1, 1), spec.getLayersList().stream().map(LayerSpec::getKvGroup).toList());
    assertTrue(spec.getKvGroupsList().stream().allMatch(group -> group.getWindow() == 0));
  }
}

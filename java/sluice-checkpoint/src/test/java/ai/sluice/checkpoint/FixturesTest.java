package ai.sluice.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.Sampling;
import ai.sluice.proto.Activation;
import ai.sluice.proto.Format;
import ai.sluice.proto.GqaSpec;
import ai.sluice.proto.HeadKind;
import ai.sluice.proto.LayerSpec;
import ai.sluice.proto.ModelSpec;
import ai.sluice.proto.NormKind;
import ai.sluice.proto.NormSpec;
import ai.sluice.proto.Part;
import ai.sluice.proto.RopeSpec;
import ai.sluice.proto.Slot;
import ai.sluice.proto.WeightTransfer;
import java.math.BigDecimal;
import java.math.MathContext;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The parity fixtures, field by field, against what their config.json files say. */
class FixturesTest {
  /** What a fixture's config.json says, written down by hand. */
  record Expected(
      String architecture,
      int vocab,
      int hidden,
      int intermediate,
      int layers,
      int qHeads,
      int kvHeads,
      int headDim,
      double eps,
      double theta,
      boolean tied,
      boolean qkvBias,
      int window,
      Format format) {}

  private static final Map<String, Expected> EXPECTED =
      Map.of(
          "llama",
          new Expected(
              "llama", 256, 64, 128, 3, 4, 2, 16, 1e-6, 500_000, true, false, 0, Format.F32),
          "llama3_rope",
          new Expected(
              "llama", 288, 96, 160, 2, 6, 2, 16, 1e-6, 500_000, false, false, 0, Format.BF16),
          "mistral",
          new Expected(
              "mistral", 256, 64, 96, 2, 4, 1, 32, 1e-5, 1_000_000, false, false, 8, Format.F32),
          "qwen2",
          new Expected(
              "qwen2", 256, 64, 96, 3, 4, 2, 16, 1e-6, 1_000_000, true, true, 0, Format.F32));

  @ParameterizedTest
  @CsvSource({"llama", "llama3_rope", "mistral", "qwen2"})
  void describesTheModel(String name) {
    Expected expected = EXPECTED.get(name);
    Checkpoint checkpoint = Checkpoint.open(Fixtures.folder(name));
    ModelSpec spec = checkpoint.modelSpec();
    assertEquals(1, spec.getSpecVersion());
    assertEquals(expected.architecture(), spec.getArchitecture());
    assertEquals(expected.vocab(), spec.getVocabSize());
    assertEquals(expected.hidden(), spec.getHiddenSize());
    assertEquals(512, spec.getMaxContextLen());
    assertEquals(512, checkpoint.maxPositions());
    assertEquals(1, spec.getPositionDims());
    assertEquals(1.0, spec.getEmbeddingMultiplier());
    assertFalse(spec.hasEmbeddingNorm());
    assertFalse(spec.hasCompression());
    assertEquals(0, spec.getSlotFormatsCount());
    checkNorm(spec.getFinalNorm(), expected.eps());

    assertEquals(1, spec.getHeadsCount());
    assertEquals(HeadKind.GENERATION, spec.getHeads(0).getKind());
    assertEquals(expected.tied(), spec.getHeads(0).getTied());
    assertFalse(spec.getHeads(0).getBias());
    assertEquals(1.0, spec.getHeads(0).getLogitMultiplier());

    assertEquals(1, spec.getKvGroupsCount());
    assertEquals(expected.window(), spec.getKvGroups(0).getWindow());
    assertEquals(expected.window(), spec.getKvGroups(0).getRetention());
    assertEquals(0, spec.getKvGroups(0).getChunk());

    assertEquals(expected.layers(), spec.getLayersCount());
    for (LayerSpec layer : spec.getLayersList()) {
      checkLayer(layer, expected);
    }
    checkRope(spec, expected, name.equals("llama3_rope"));
    assertTrue(checkpoint.dynamicRope().isEmpty());
    assertEquals(List.of(), checkpoint.notes());
  }

  private static void checkNorm(NormSpec norm, double eps) {
    assertEquals(NormKind.RMS_NORM, norm.getKind());
    assertEquals(eps, norm.getEps());
    assertTrue(norm.getHasWeight());
    assertFalse(norm.getHasBias());
    assertEquals(0.0, norm.getWeightOffset());
  }

  private static void checkLayer(LayerSpec layer, Expected expected) {
    checkNorm(layer.getAttentionNorm(), expected.eps());
    checkNorm(layer.getFeedForwardNorm(), expected.eps());
    assertFalse(layer.hasPostAttentionNorm());
    assertFalse(layer.hasPostFeedForwardNorm());
    assertFalse(layer.getParallelResidual());
    assertEquals(1.0, layer.getResidualMultiplier());
    assertEquals(0, layer.getKvGroup());
    GqaSpec gqa = layer.getGqa();
    assertEquals(expected.qHeads(), gqa.getNumQHeads());
    assertEquals(expected.kvHeads(), gqa.getNumKvHeads());
    assertEquals(expected.headDim(), gqa.getHeadDim());
    assertFalse(gqa.hasVHeadDim());
    assertEquals(0, gqa.getRope());
    assertEquals(Math.pow(expected.headDim(), -0.5), gqa.getSoftmaxScale(), 1e-15);
    assertEquals(expected.qkvBias(), gqa.getQBias());
    assertEquals(expected.qkvBias(), gqa.getKBias());
    assertEquals(expected.qkvBias(), gqa.getVBias());
    assertFalse(gqa.getOBias());
    assertFalse(gqa.hasQNorm());
    assertFalse(gqa.hasKNorm());
    assertTrue(gqa.getCausal());
    assertFalse(gqa.getSinks());
    assertEquals(0.0, gqa.getLogitSoftCap());
    assertEquals(expected.intermediate(), layer.getDense().getIntermediateSize());
    assertEquals(Activation.SILU, layer.getDense().getActivation().getKind());
    assertTrue(layer.getDense().getGated());
    assertFalse(layer.getDense().getGateUpBias());
    assertFalse(layer.getDense().getDownBias());
  }

  private static void checkRope(ModelSpec spec, Expected expected, boolean llama3) {
    assertEquals(1, spec.getRopesCount());
    RopeSpec rope = spec.getRopes(0);
    assertEquals(expected.headDim(), rope.getRotaryDim());
    assertFalse(rope.getInterleaved());
    assertEquals(0, rope.getNumDynamicVariants());
    assertEquals(1, rope.getVariantsCount());
    assertEquals(1.0, rope.getVariants(0).getAttentionScale());
    assertEquals(expected.headDim() / 2, rope.getVariants(0).getInvFreqCount());
    for (int i = 0; i < expected.headDim() / 2; i++) {
      double plain = inverseFrequency(expected.theta(), i, expected.headDim());
      double want = llama3 ? llama3(plain) : plain;
      assertEquals(want, rope.getVariants(0).getInvFreq(i), 1e-14 * want, "frequency " + i);
    }
  }

  /** theta^(-2i/dim) by repeated square roots of decimals: another way than the code's. */
  private static double inverseFrequency(double theta, int i, int dim) {
    // dim is a power of two in every fixture: theta^(1/dim) is log2(dim) square roots.
    BigDecimal root = BigDecimal.valueOf(theta);
    for (int d = dim; d > 1; d /= 2) {
      root = root.sqrt(new MathContext(40));
    }
    return BigDecimal.ONE.divide(root.pow(2 * i), new MathContext(40)).doubleValue();
  }

  /** The fixture's rope_scaling: factor 8, low 1, high 4, original context 64; by wavelength. */
  private static double llama3(double frequency) {
    double wavelength = 2 * Math.PI / frequency;
    if (wavelength < 64 / 4.0) {
      return frequency;
    }
    if (wavelength > 64 / 1.0) {
      return frequency / 8;
    }
    double smooth = (64 / wavelength - 1) / (4 - 1);
    return (1 - smooth) * frequency / 8 + smooth * frequency;
  }

  @Test
  void theLlama3FixtureReachesAllThreeRanges() {
    List<Double> ratios =
        Checkpoint.open(Fixtures.folder("llama3_rope"))
            .modelSpec()
            .getRopes(0)
            .getVariants(0)
            .getInvFreqList()
            .stream()
            .toList();
    double first = ratios.get(0) / inverseFrequency(500_000, 0, 16);
    double second = ratios.get(1) / inverseFrequency(500_000, 1, 16);
    double third = ratios.get(2) / inverseFrequency(500_000, 2, 16);
    assertEquals(1, first, 1e-12);
    assertTrue(second > 0.125 + 1e-6 && second < 1 - 1e-6, "ratio " + second);
    assertEquals(0.125, third, 1e-12);
  }

  @ParameterizedTest
  @CsvSource({"llama", "llama3_rope", "mistral", "qwen2"})
  void placesEveryTensor(String name) {
    Expected expected = EXPECTED.get(name);
    Path folder = Fixtures.folder(name);
    Checkpoint checkpoint = Checkpoint.open(folder);
    SafetensorsFile file = SafetensorsFile.open(folder.resolve("model.safetensors"));
    assertEquals(
        List.of(folder.resolve("model.safetensors").toString()),
        checkpoint.weights().getFilesList());
    Map<String, WeightTransfer> byName =
        checkpoint.weights().getTransfersList().stream()
            .collect(Collectors.toMap(WeightTransfer::getName, Function.identity()));
    assertEquals(file.tensors().size(), byName.size());
    long parameters = 0;
    for (TensorInfo tensor : file.tensors().tensors()) {
      WeightTransfer transfer = byName.get(tensor.name());
      assertEquals(0, transfer.getSource().getFile());
      assertEquals(tensor.offset(), transfer.getSource().getOffset());
      assertEquals(tensor.byteLength(), transfer.getSource().getBytes());
      assertEquals(expected.format(), transfer.getSource().getFormat());
      assertEquals(tensor.shape(), transfer.getSource().getShapeList());
      assertFalse(transfer.getSource().getTransposed());
      assertEquals(0, transfer.getSource().getStridesCount());
      parameters += tensor.elements();
    }
    assertEquals(parameters, checkpoint.summary().numParameters());
    assertEquals(
        (long) expected.vocab() * expected.hidden(), checkpoint.summary().numEmbeddingParameters());
    check(byName, "model.embed_tokens.weight", -1, Slot.EMBED_TOKENS, Part.WHOLE);
    check(byName, "model.norm.weight", -1, Slot.FINAL_NORM, Part.WHOLE);
    assertEquals(!expected.tied(), byName.containsKey("lm_head.weight"));
    if (!expected.tied()) {
      check(byName, "lm_head.weight", -1, Slot.HEAD, Part.WHOLE);
    }
    for (int i = 0; i < expected.layers(); i++) {
      String p = "model.layers." + i + ".";
      check(byName, p + "input_layernorm.weight", i, Slot.ATTENTION_NORM, Part.WHOLE);
      check(byName, p + "post_attention_layernorm.weight", i, Slot.FEED_FORWARD_NORM, Part.WHOLE);
      check(byName, p + "self_attn.q_proj.weight", i, Slot.QKV, Part.PART_Q);
      check(byName, p + "self_attn.k_proj.weight", i, Slot.QKV, Part.PART_K);
      check(byName, p + "self_attn.v_proj.weight", i, Slot.QKV, Part.PART_V);
      check(byName, p + "self_attn.o_proj.weight", i, Slot.O, Part.WHOLE);
      check(byName, p + "mlp.gate_proj.weight", i, Slot.GATE_UP, Part.PART_GATE);
      check(byName, p + "mlp.up_proj.weight", i, Slot.GATE_UP, Part.PART_UP);
      check(byName, p + "mlp.down_proj.weight", i, Slot.DOWN, Part.WHOLE);
      if (expected.qkvBias()) {
        check(byName, p + "self_attn.q_proj.bias", i, Slot.QKV_BIAS, Part.PART_Q);
        check(byName, p + "self_attn.k_proj.bias", i, Slot.QKV_BIAS, Part.PART_K);
        check(byName, p + "self_attn.v_proj.bias", i, Slot.QKV_BIAS, Part.PART_V);
      }
    }
  }

  private static void check(
      Map<String, WeightTransfer> byName, String name, int layer, Slot slot, Part part) {
    WeightTransfer transfer = byName.get(name);
    assertEquals(layer, transfer.getDestination().getLayer(), name);
    assertEquals(slot, transfer.getDestination().getSlot(), name);
    assertEquals(part, transfer.getDestination().getPart(), name);
    assertEquals(-1, transfer.getDestination().getExpert(), name);
    assertEquals(0, transfer.getDestination().getAdapter(), name);
  }

  @Test
  void readsTheOtherFacts() {
    Checkpoint checkpoint = Checkpoint.open(Fixtures.folder("llama3_rope"));
    assertEquals(CheckpointFormat.HUGGING_FACE, checkpoint.format());
    assertEquals("llama", checkpoint.architecture());
    assertEquals(List.of(2, 5, 7), checkpoint.eosTokenIds());
    assertEquals(Optional.of(1), checkpoint.bosTokenId());
    assertEquals(DType.BF16, checkpoint.storedDType());
    assertEquals(Map.of(DType.BF16, 197_088L), checkpoint.summary().elementsByDType());
    assertEquals(394_176, checkpoint.summary().totalBytes());
    assertEquals(21, checkpoint.summary().numTensors());
    assertEquals(1, checkpoint.summary().numFiles());
    assertEquals(Sampling.unset(), checkpoint.sampling());
    assertEquals(Optional.of("generation_config.json"), checkpoint.samplingSource());
    assertTrue(checkpoint.chatTemplate().isEmpty());
    assertTrue(checkpoint.tokenizer().isEmpty());
    CheckpointFormatException e =
        assertThrows(CheckpointFormatException.class, checkpoint::requireTokenizer);
    assertTrue(e.getMessage().contains("tokenizer.json: no such file"), e.getMessage());
  }

  @ParameterizedTest
  @CsvSource({"llama,3", "llama3_rope,3", "adaptive_moe,3"})
  void readsExpectedOutputs(String name, int prompts) {
    SafetensorsFile file =
        SafetensorsFile.open(Fixtures.folder(name).resolve("expected.safetensors"));
    for (int i = 0; i < prompts; i++) {
      long[] ids = file.readInt64("input_ids_" + i);
      TensorInfo logits = file.tensors().get("logits64_" + i);
      assertEquals(ids.length, logits.shape().get(0));
      float[] values = file.readFloat32("logits64_" + i);
      assertEquals(logits.elements(), values.length);
      double squares = 0;
      for (float value : values) {
        squares += value * value;
      }
      // The README: logits have a standard deviation of 1 to 1.7.
      double deviation = Math.sqrt(squares / values.length);
      assertTrue(deviation > 0.5 && deviation < 3, "deviation " + deviation);
    }
  }
}

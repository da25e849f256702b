package ai.sluice.checkpoint.arch;

import ai.sluice.checkpoint.DynamicRope;
import ai.sluice.proto.HeadKind;
import ai.sluice.proto.HeadSpec;
import ai.sluice.proto.KvGroupSpec;
import ai.sluice.proto.LayerSpec;
import ai.sluice.proto.ModelSpec;
import ai.sluice.proto.NormKind;
import ai.sluice.proto.NormSpec;
import ai.sluice.proto.Part;
import ai.sluice.proto.Slot;
import ai.sluice.proto.WeightDestination;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Collects a decoder's spec and its tensors side by side, so that what a layer declares and what it
 * loads cannot drift apart. Not thread-safe; a family fills one and calls {@link #build}.
 */
final class DecoderPlan {
  private static final int SPEC_VERSION = 1;

  private final ModelSpec.Builder spec = ModelSpec.newBuilder().setSpecVersion(SPEC_VERSION);
  private final List<ModelPlan.Binding> bindings = new ArrayList<>();
  private final Set<String> ignorable = new LinkedHashSet<>();
  private final Map<Integer, Integer> groupOfWindow = new LinkedHashMap<>();
  private final List<String> notes = new ArrayList<>();
  private Optional<DynamicRope> dynamicRope = Optional.empty();

  /** Starts a plan. */
  DecoderPlan(String architecture, int vocabSize, int hiddenSize, int maxContextLen) {
    spec.setArchitecture(architecture)
        .setVocabSize(vocabSize)
        .setHiddenSize(hiddenSize)
        .setMaxContextLen(maxContextLen);
  }

  int hiddenSize() {
    return spec.getHiddenSize();
  }

  /** RMS norm with a weight, over a whole row. */
  static NormSpec rmsNorm(double eps) {
    return NormSpec.newBuilder().setKind(NormKind.RMS_NORM).setEps(eps).build();
  }

  /** Adds a RoPE and returns its index. */
  int addRope(Rope rope) {
    dynamicRope = rope.dynamic();
    spec.addRopes(rope.spec());
    return spec.getRopesCount() - 1;
  }

  /** The kv group of layers with this window (0: none), added when it is new. */
  int kvGroup(int window) {
    return groupOfWindow.computeIfAbsent(
        window,
        w -> {
          // What no later query can see may be freed.
          spec.addKvGroups(KvGroupSpec.newBuilder().setWindow(w).setRetention(w));
          return spec.getKvGroupsCount() - 1;
        });
  }

  /** Binds a model-level tensor. */
  void bind(String tensor, Slot slot, long... shape) {
    bind(tensor, WeightDestination.newBuilder().setSlot(slot), shape);
  }

  /** Binds a layer's tensor that fills a whole slot. */
  void bindLayer(int layer, String tensor, Slot slot, long... shape) {
    bindPart(layer, tensor, slot, Part.WHOLE, shape);
  }

  /** Binds a layer's tensor that fills one part of a slot. */
  void bindPart(int layer, String tensor, Slot slot, Part part, long... shape) {
    WeightDestination.Builder destination =
        WeightDestination.newBuilder().setLayer(layer).setSlot(slot);
    if (part != Part.WHOLE) {
      destination.setPart(part);
    }
    bind(tensor, destination, shape);
  }

  private void bind(String tensor, WeightDestination.Builder destination, long... shape) {
    List<Long> dimensions = new ArrayList<>();
    for (long dimension : shape) {
      dimensions.add(dimension);
    }
    bindings.add(new ModelPlan.Binding(tensor, dimensions, destination.build()));
  }

  /** Names a tensor that a checkpoint may hold and that changes nothing. */
  void ignore(String tensor) {
    ignorable.add(tensor);
  }

  /** Adds the embedding, the final norm and the generation head under the usual names. */
  void addEnds(double normEps, boolean tied) {
    long vocabSize = spec.getVocabSize();
    bind("model.embed_tokens.weight", Slot.EMBED_TOKENS, vocabSize, hiddenSize());
    spec.setFinalNorm(rmsNorm(normEps));
    bind("model.norm.weight", Slot.FINAL_NORM, hiddenSize());
    HeadSpec.Builder head = HeadSpec.newBuilder().setKind(HeadKind.GENERATION).setName("lm");
    if (tied) {
      head.setTied(true);
      // Some writers store the embedding a second time under this name.
      ignore("lm_head.weight");
    } else {
      bind("lm_head.weight", Slot.HEAD, vocabSize, hiddenSize());
    }
    spec.addHeads(head);
    ignore("model.rotary_emb.inv_freq");
  }

  /** Adds a finished layer. */
  void addLayer(LayerSpec.Builder layer) {
    spec.addLayers(layer);
  }

  /** Adds notes for the user. */
  void note(List<String> more) {
    notes.addAll(more);
  }

  /** The plan. */
  ModelPlan build() {
    return new ModelPlan(spec.build(), bindings, ignorable, dynamicRope, notes);
  }
}

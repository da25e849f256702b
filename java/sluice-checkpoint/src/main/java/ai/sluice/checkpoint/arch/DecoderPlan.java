package ai.sluice.checkpoint.arch;

import ai.sluice.checkpoint.DynamicRope;
import ai.sluice.checkpoint.arch.ModelPlan.Choice;
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
  private final List<Choice> weights = new ArrayList<>();
  private final Set<String> ignorable = new LinkedHashSet<>();
  private final List<ModelPlan.SetAside> setAside = new ArrayList<>();
  private final Map<KvGroupSpec, Integer> groups = new LinkedHashMap<>();
  private final List<String> notes = new ArrayList<>();
  private Optional<DynamicRope> dynamicRope = Optional.empty();
  private Optional<ModelPlan.ScaleBlock> scaleBlock = Optional.empty();

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
    notes.addAll(rope.notes());
    spec.addRopes(rope.spec());
    return spec.getRopesCount() - 1;
  }

  /** The kv group of layers with this window (0: none), added when it is new. */
  int kvGroup(int window) {
    // What no later query can see may be freed.
    return kvGroup(window, window);
  }

  /**
   * The kv group of these layers, added when it is new.
   *
   * @param window how far a layer whose mask comes from its group sees; 0: everything
   * @param retention how far any of its layers sees or counts; 0: everything
   */
  int kvGroup(int window, int retention) {
    KvGroupSpec group = KvGroupSpec.newBuilder().setWindow(window).setRetention(retention).build();
    return groups.computeIfAbsent(
        group,
        g -> {
          spec.addKvGroups(g);
          return spec.getKvGroupsCount() - 1;
        });
  }

  /** Binds a model-level tensor. */
  void bind(String tensor, Slot slot, long... shape) {
    bind(tensor, WeightDestination.newBuilder().setSlot(slot), shape);
  }

  /** Binds a tensor of the head with this index. */
  void bindHead(int head, String tensor, Slot slot, long... shape) {
    bind(tensor, WeightDestination.newBuilder().setSlot(slot).setHead(head), shape);
  }

  /** Binds a layer's tensor that fills a whole slot. */
  void bindLayer(int layer, String tensor, Slot slot, long... shape) {
    bindPart(layer, tensor, slot, Part.WHOLE, shape);
  }

  /** Binds a layer's tensor that fills one part of a slot. */
  void bindPart(int layer, String tensor, Slot slot, Part part, long... shape) {
    bind(tensor, destination(layer, slot, part), shape);
  }

  private void bind(String tensor, WeightDestination.Builder destination, long... shape) {
    bind(new Binding(tensor, Binding.longs(shape), destination.build()));
  }

  /** Adds one binding. */
  void bind(Binding binding) {
    weights.add(new Choice(List.of(List.of(binding))));
  }

  /** Adds weights that may be stored in any of these forms; the first is the usual one. */
  void bindAny(List<Iterable<Binding>> forms) {
    weights.add(new Choice(forms));
  }

  /** A place in a layer. */
  static WeightDestination.Builder destination(int layer, Slot slot, Part part) {
    WeightDestination.Builder destination =
        WeightDestination.newBuilder().setLayer(layer).setSlot(slot);
    return part == Part.WHOLE ? destination : destination.setPart(part);
  }

  /** Names a tensor that a checkpoint may hold and that changes nothing. */
  void ignore(String tensor) {
    ignorable.add(tensor);
  }

  /** Names a layer beyond the model's own that a checkpoint may hold. */
  void setAside(ModelPlan.SetAside layer) {
    setAside.add(layer);
  }

  /** Says that tensors of 8-bit floats have a scale per block. */
  void scaleBlock(ModelPlan.ScaleBlock block) {
    scaleBlock = Optional.of(block);
  }

  /** Adds the embedding, the final norm and the generation head under the usual names. */
  void addEnds(double normEps, boolean tied) {
    addEmbedding("model.embed_tokens.weight");
    spec.setFinalNorm(rmsNorm(normEps));
    bind("model.norm.weight", Slot.FINAL_NORM, hiddenSize());
    addGenerationHead("lm_head.weight", tied);
    ignore("model.rotary_emb.inv_freq");
  }

  /** Adds the embedding. */
  void addEmbedding(String tensor) {
    bind(tensor, Slot.EMBED_TOKENS, spec.getVocabSize(), hiddenSize());
  }

  /** Adds the head that gives the logits of the next token. */
  void addGenerationHead(String tensor, boolean tied) {
    HeadSpec.Builder head =
        HeadSpec.newBuilder().setKind(HeadKind.GENERATION).setName("generation");
    if (tied) {
      head.setTied(true);
      // Some writers store the embedding a second time under this name.
      ignore(tensor);
    } else {
      bindHead(spec.getHeadsCount(), tensor, Slot.HEAD, spec.getVocabSize(), hiddenSize());
    }
    addHead(head);
  }

  /** Adds a head and returns its index. */
  int addHead(HeadSpec.Builder head) {
    spec.addHeads(head);
    return spec.getHeadsCount() - 1;
  }

  /** The model as far as it is built, for what only one family has. */
  ModelSpec.Builder spec() {
    return spec;
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
    return new ModelPlan(
        spec.build(), weights, ignorable, setAside, scaleBlock, dynamicRope, notes);
  }
}

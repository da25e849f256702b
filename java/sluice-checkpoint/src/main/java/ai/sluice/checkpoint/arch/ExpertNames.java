package ai.sluice.checkpoint.arch;

import static ai.sluice.checkpoint.arch.Binding.MXFP4_BLOCK;
import static ai.sluice.checkpoint.arch.Binding.MXFP4_BYTES;
import static ai.sluice.checkpoint.arch.Binding.longs;
import static ai.sluice.checkpoint.arch.DecoderPlan.destination;

import ai.sluice.checkpoint.arch.Binding.View;
import ai.sluice.proto.MoeSpec;
import ai.sluice.proto.Part;
import ai.sluice.proto.Slot;
import ai.sluice.proto.WeightDestination;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.Iterables;
import com.google.common.collect.Lists;
import java.util.AbstractList;
import java.util.List;
import java.util.Optional;

/**
 * The forms in which a family's checkpoints store the matrices and biases of a layer's experts. The
 * first form is the usual one; another counts where its first tensor is there.
 */
final class ExpertNames {
  /** One way to store them. */
  interface Form {
    /**
     * The bindings of one layer, made when they are walked through.
     *
     * @param prefix {@code model.layers.N.}
     */
    Iterable<Binding> of(int layer, String prefix, Sizes sizes);
  }

  /** What the forms need to know of a mixture. */
  record Sizes(MoeSpec spec, long hidden) {
    long experts() {
      return spec.getNumExperts();
    }

    long width() {
      return spec.getExpertIntermediateSize();
    }
  }

  private final ImmutableList<Form> forms;

  private ExpertNames(Form... forms) {
    this.forms = ImmutableList.copyOf(forms);
  }

  /** In any of these forms. */
  static ExpertNames of(Form... forms) {
    return new ExpertNames(forms);
  }

  /** Under the names of GGUF files where {@code config} comes from one, else in these forms. */
  static ExpertNames of(ModelConfig config, Form... forms) {
    return config.flag(GgufKeys.IS_GGUF, false) ? of(stackedApart("mlp.experts.")) : of(forms);
  }

  /** Binds the experts of one layer. */
  void bind(DecoderPlan plan, int layer, String prefix, MoeSpec spec) {
    Sizes sizes = new Sizes(spec, plan.hiddenSize());
    plan.bindAny(forms.stream().map(form -> form.of(layer, prefix, sizes)).toList());
  }

  /**
   * Each matrix by itself: {@code <prefix><e>.<gate>.weight} [width, hidden], likewise up, and
   * {@code <down>} [hidden, width]; biases beside them. An ungated expert has no gate.
   */
  static Form single(String experts, String gate, String up, String down) {
    return (layer, prefix, sizes) ->
        Iterables.concat(
            new AbstractList<List<Binding>>() {
              @Override
              public List<Binding> get(int expert) {
                return singleExpert(
                    layer, expert, prefix + experts + expert + ".", gate, up, down, sizes);
              }

              @Override
              public int size() {
                return (int) sizes.experts();
              }
            });
  }

  private static List<Binding> singleExpert(
      int layer, int expert, String prefix, String gate, String up, String down, Sizes sizes) {
    List<Binding> bindings = Lists.newArrayListWithCapacity(6);
    long hidden = sizes.hidden();
    long width = sizes.width();
    MoeSpec spec = sizes.spec();
    WeightDestination.Builder to = destination(layer, Slot.EXPERT_GATE_UP, Part.PART_GATE);
    to.setExpert(expert);
    if (spec.getGated()) {
      bindings.add(whole(prefix + gate + ".weight", to, width, hidden));
    }
    bindings.add(whole(prefix + up + ".weight", to.setPart(Part.PART_UP), width, hidden));
    if (spec.getGateUpBias()) {
      to.setSlot(Slot.EXPERT_GATE_UP_BIAS);
      bindings.add(whole(prefix + up + ".bias", to, width));
      if (spec.getGated()) {
        bindings.add(whole(prefix + gate + ".bias", to.setPart(Part.PART_GATE), width));
      }
    }
    to.clearPart().setSlot(Slot.EXPERT_DOWN);
    bindings.add(whole(prefix + down + ".weight", to, hidden, width));
    if (spec.getDownBias()) {
      bindings.add(whole(prefix + down + ".bias", to.setSlot(Slot.EXPERT_DOWN_BIAS), hidden));
    }
    return bindings;
  }

  private static Binding whole(String tensor, WeightDestination.Builder to, long... shape) {
    return new Binding(tensor, longs(shape), to.build());
  }

  /**
   * All experts of a layer in two tensors: {@code gate_up_proj} [experts, 2 * width, hidden], the
   * gate's rows before the up rows, and {@code down_proj} [experts, hidden, width].
   */
  static Form stacked(String experts) {
    return (layer, prefix, sizes) -> {
      long e = sizes.experts();
      long h = sizes.hidden();
      long i = sizes.width();
      List<Long> both = longs(e, 2 * i, h);
      List<Long> strides = longs(2 * i * h, h, 1);
      String gateUp = prefix + experts + "gate_up_proj";
      return List.of(
          sliced(gateUp, both, gate(layer), new View(0, longs(e, i, h), strides, false)),
          sliced(gateUp, both, up(layer), new View(i * h, longs(e, i, h), strides, false)),
          dense(prefix + experts + "down_proj", layer, Slot.EXPERT_DOWN, e, h, i));
    };
  }

  /**
   * All experts of a layer with inputs before outputs, gate and up interleaved: {@code
   * gate_up_proj} [experts, hidden, 2 * width], even columns gate, odd up; {@code down_proj}
   * [experts, width, hidden]; biases {@code _bias} likewise.
   */
  static Form interleaved(String experts) {
    return (layer, prefix, sizes) -> {
      long e = sizes.experts();
      long h = sizes.hidden();
      long i = sizes.width();
      List<Long> both = longs(e, h, 2 * i);
      List<Long> strides = longs(h * 2 * i, 2 * i, 2);
      String gateUp = prefix + experts + "gate_up_proj";
      String down = prefix + experts + "down_proj";
      return ImmutableList.<Binding>builder()
          .add(sliced(gateUp, both, gate(layer), new View(0, longs(e, h, i), strides, true)))
          .add(sliced(gateUp, both, up(layer), new View(1, longs(e, h, i), strides, true)))
          .add(
              sliced(
                  down,
                  longs(e, i, h),
                  destination(layer, Slot.EXPERT_DOWN, Part.WHOLE),
                  View.transposed(e, i, h)))
          .addAll(interleavedBiases(layer, gateUp + "_bias", down + "_bias", sizes))
          .build();
    };
  }

  /**
   * The same experts as MXFP4, rows of outputs: {@code gate_up_proj_blocks} [experts, 2 * width,
   * hidden / 32, 16], even rows gate, odd up, and {@code _scales} without the last dimension;
   * {@code down_proj} likewise.
   */
  static Form interleavedMxfp4(String experts) {
    return (layer, prefix, sizes) -> {
      long e = sizes.experts();
      long h = sizes.hidden();
      long i = sizes.width();
      String gateUp = prefix + experts + "gate_up_proj";
      String down = prefix + experts + "down_proj";
      List<Long> both = longs(e, 2 * i, h / MXFP4_BLOCK, MXFP4_BYTES);
      List<Long> strides = longs(2 * i * h, 2 * h, 1);
      View even = new View(0, longs(e, i, h), strides, false);
      View odd = new View(h, longs(e, i, h), strides, false);
      return ImmutableList.<Binding>builder()
          .add(mxfp4(gateUp, both, gate(layer), even))
          .add(mxfp4(gateUp, both, up(layer), odd))
          .add(
              mxfp4(
                  down,
                  longs(e, h, i / MXFP4_BLOCK, MXFP4_BYTES),
                  destination(layer, Slot.EXPERT_DOWN, Part.WHOLE),
                  View.reshaped(e, h, i)))
          .addAll(interleavedBiases(layer, gateUp + "_bias", down + "_bias", sizes))
          .build();
    };
  }

  private static List<Binding> interleavedBiases(
      int layer, String gateUp, String down, Sizes sizes) {
    long e = sizes.experts();
    long i = sizes.width();
    List<Binding> bindings = Lists.newArrayListWithCapacity(3);
    if (sizes.spec().getGateUpBias()) {
      List<Long> both = longs(e, 2 * i);
      List<Long> strides = longs(2 * i, 2);
      WeightDestination.Builder to = gate(layer).setSlot(Slot.EXPERT_GATE_UP_BIAS);
      bindings.add(sliced(gateUp, both, to, new View(0, longs(e, i), strides, false)));
      to.setPart(Part.PART_UP);
      bindings.add(sliced(gateUp, both, to, new View(1, longs(e, i), strides, false)));
    }
    if (sizes.spec().getDownBias()) {
      bindings.add(dense(down, layer, Slot.EXPERT_DOWN_BIAS, e, sizes.hidden()));
    }
    return bindings;
  }

  /**
   * All experts of a layer in three tensors, as GGUF files have them: gate and up [experts, width,
   * hidden], down [experts, hidden, width], biases [experts, ...].
   */
  static Form stackedApart(String experts) {
    return (layer, prefix, sizes) -> {
      long e = sizes.experts();
      long h = sizes.hidden();
      long i = sizes.width();
      String gate = prefix + experts + "gate_proj.";
      String up = prefix + experts + "up_proj.";
      String down = prefix + experts + "down_proj.";
      ImmutableList.Builder<Binding> bindings =
          ImmutableList.<Binding>builder()
              .add(whole(gate + "weight", gate(layer), e, i, h))
              .add(whole(up + "weight", up(layer), e, i, h))
              .add(dense(down + "weight", layer, Slot.EXPERT_DOWN, e, h, i));
      if (sizes.spec().getGateUpBias()) {
        Slot slot = Slot.EXPERT_GATE_UP_BIAS;
        bindings.add(whole(gate + "bias", gate(layer).setSlot(slot), e, i));
        bindings.add(whole(up + "bias", up(layer).setSlot(slot), e, i));
      }
      if (sizes.spec().getDownBias()) {
        bindings.add(dense(down + "bias", layer, Slot.EXPERT_DOWN_BIAS, e, h));
      }
      return bindings.build();
    };
  }

  private static WeightDestination.Builder gate(int layer) {
    return destination(layer, Slot.EXPERT_GATE_UP, Part.PART_GATE);
  }

  private static WeightDestination.Builder up(int layer) {
    return destination(layer, Slot.EXPERT_GATE_UP, Part.PART_UP);
  }

  private static Binding dense(String tensor, int layer, Slot slot, long... shape) {
    return whole(tensor, destination(layer, slot, Part.WHOLE), shape);
  }

  private static Binding sliced(
      String tensor, List<Long> shape, WeightDestination.Builder to, View view) {
    return new Binding(tensor, shape, to.build(), Optional.of(view), Optional.empty());
  }

  private static Binding mxfp4(
      String name, List<Long> shape, WeightDestination.Builder to, View view) {
    return new Binding(
        name + "_blocks", shape, to.build(), Optional.of(view), Optional.of(name + "_scales"));
  }
}

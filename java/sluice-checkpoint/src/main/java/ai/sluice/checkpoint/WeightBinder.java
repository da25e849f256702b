package ai.sluice.checkpoint;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.UnsupportedModelException;
import ai.sluice.checkpoint.arch.Binding;
import ai.sluice.checkpoint.arch.ModelPlan;
import ai.sluice.checkpoint.io.Quote;
import ai.sluice.proto.WeightDestination;
import ai.sluice.proto.WeightTransfer;
import ai.sluice.proto.WeightTransferList;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.UnaryOperator;

/**
 * Joins what a model needs with what a checkpoint holds. A missing, extra or misshapen tensor, or
 * one in a format that weights cannot have, is named with what was expected.
 */
final class WeightBinder {
  // A config may name millions of tensors that a small file does not have.
  private static final int MAX_MISSING = 1000;

  /**
   * What a model's weights come from.
   *
   * @param weights the transfers and the files
   * @param tensors the tensors that they use, scales included
   * @param notes tensors that were set aside
   */
  record Bound(WeightTransferList weights, List<TensorInfo> tensors, List<String> notes) {}

  private final TensorDirectory tensors;
  private final UnaryOperator<String> spelling;
  private final List<Binding> chosen = new ArrayList<>();
  private final Set<String> needed = new HashSet<>();

  private WeightBinder(TensorDirectory tensors, UnaryOperator<String> spelling) {
    this.tensors = tensors;
    this.spelling = spelling;
  }

  /**
   * Binds every tensor of a plan.
   *
   * @param plan what the model needs
   * @param tensors what the checkpoint holds, by Hugging Face names
   * @param spelling how the checkpoint's format spells such a name, for messages
   * @throws CheckpointFormatException if a tensor is missing, extra or misshapen
   * @throws UnsupportedModelException if a tensor is stored in a format that weights cannot have
   */
  static Bound bind(ModelPlan plan, TensorDirectory tensors, UnaryOperator<String> spelling) {
    WeightBinder binder = new WeightBinder(tensors, spelling);
    binder.choose(plan);
    WeightSources sources = new WeightSources(tensors, spelling, plan.scaleBlock());
    List<String> notes = binder.requireNoOther(plan, sources);
    WeightTransferList.Builder list = WeightTransferList.newBuilder();
    for (Binding binding : binder.chosen) {
      TensorInfo tensor = tensors.get(binding.tensor());
      list.addTransfers(
          WeightTransfer.newBuilder()
              .setName(tensor.name())
              .setDestination(binding.destination())
              .setSource(sources.of(binding)));
    }
    list.addAllFiles(sources.files());
    return new Bound(list.build(), binder.used(), notes);
  }

  /** Picks a form for each weight; all of its tensors must be there. */
  private void choose(ModelPlan plan) {
    Binding first = null;
    int missing = 0;
    for (ModelPlan.Choice choice : plan.weights()) {
      for (Binding binding : form(choice)) {
        if (tensors.find(binding.tensor()).isPresent()) {
          needed.add(binding.tensor());
          chosen.add(binding);
          continue;
        }
        first = first == null ? binding : first;
        if (++missing > MAX_MISSING) {
          throw missing(first, ", as are more than " + MAX_MISSING + " others");
        }
      }
    }
    if (first != null) {
      throw missing(first, others(missing - 1));
    }
  }

  private Iterable<Binding> form(ModelPlan.Choice choice) {
    for (Iterable<Binding> form : choice.forms().subList(1, choice.forms().size())) {
      if (tensors.find(form.iterator().next().tensor()).isPresent()) {
        return form;
      }
    }
    return choice.forms().get(0);
  }

  private CheckpointFormatException missing(Binding first, String others) {
    WeightDestination place = first.destination();
    String expert =
        place.getExpert() < 0
            ? ""
            : ": expert " + place.getExpert() + " of layer " + place.getLayer();
    return new CheckpointFormatException(
        tensors.source(),
        spelling.apply(first.tensor()),
        "missing"
            + expert
            + others
            + " (expected: a tensor of shape "
            + TensorInfo.shapeText(first.shape())
            + ")");
  }

  /** Throws if there is a tensor that nothing needs; returns notes about layers set aside. */
  private List<String> requireNoOther(ModelPlan plan, WeightSources sources) {
    for (Binding binding : chosen) {
      sources.scales(binding).ifPresent(needed::add);
    }
    List<String> extra = new ArrayList<>();
    List<ModelPlan.SetAside> layers =
        plan.setAside().stream()
            .filter(layer -> tensors.find(layer.prefix() + layer.mark()).isPresent())
            .toList();
    int[] counts = new int[layers.size()];
    for (String name : tensors.names()) {
      if (!needed.contains(name)
          && !plan.ignorable().contains(name)
          && !belongs(name, layers, counts)) {
        extra.add(name);
      }
    }
    if (!extra.isEmpty()) {
      TensorInfo first = tensors.get(extra.get(0));
      throw new CheckpointFormatException(
          first.file(),
          Quote.clip(first.name()),
          first.describe()
              + " is no tensor of this "
              + plan.spec().getArchitecture()
              + " model"
              + others(extra.size() - 1)
              + " (expected: "
              + needed.size()
              + " tensors that its settings call for, and no other)");
    }
    List<String> notes = new ArrayList<>();
    for (int i = 0; i < counts.length; i++) {
      notes.add(layers.get(i).what() + " is not run: " + counts[i] + " tensors are set aside");
    }
    return notes;
  }

  private static boolean belongs(String name, List<ModelPlan.SetAside> layers, int[] counts) {
    for (int i = 0; i < counts.length; i++) {
      if (name.startsWith(layers.get(i).prefix())) {
        counts[i]++;
        return true;
      }
    }
    return false;
  }

  private List<TensorInfo> used() {
    return tensors.names().stream().filter(needed::contains).map(tensors::get).toList();
  }

  private static String others(int count) {
    return count == 0 ? "" : ", as " + (count == 1 ? "is 1 other" : "are " + count + " others");
  }
}

package ai.sluice.checkpoint;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.UnsupportedModelException;
import ai.sluice.checkpoint.arch.ModelPlan;
import ai.sluice.checkpoint.arch.ModelPlan.Binding;
import ai.sluice.checkpoint.io.Quote;
import ai.sluice.proto.Format;
import ai.sluice.proto.WeightSource;
import ai.sluice.proto.WeightTransfer;
import ai.sluice.proto.WeightTransferList;
import com.google.common.collect.ImmutableMap;
import com.google.common.collect.Maps;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;

/**
 * Joins what a model needs with what a checkpoint holds. A missing, extra or misshapen tensor, or
 * one in a format that weights cannot have, is named with what was expected.
 */
final class WeightBinder {
  /** Formats that weights may be stored in. */
  static final ImmutableMap<DType, Format> FORMATS =
      Maps.immutableEnumMap(
          Map.ofEntries(
              Map.entry(DType.F32, Format.F32),
              Map.entry(DType.F16, Format.F16),
              Map.entry(DType.BF16, Format.BF16),
              Map.entry(DType.Q8_0, Format.Q8_0),
              Map.entry(DType.Q4_0, Format.Q4_0),
              Map.entry(DType.Q4_1, Format.Q4_1),
              Map.entry(DType.Q5_0, Format.Q5_0),
              Map.entry(DType.Q5_1, Format.Q5_1),
              Map.entry(DType.Q4_K, Format.Q4_K),
              Map.entry(DType.Q5_K, Format.Q5_K),
              Map.entry(DType.Q6_K, Format.Q6_K)));

  private final TensorDirectory tensors;
  private final UnaryOperator<String> spelling;
  private final Map<Path, Integer> files = new LinkedHashMap<>();

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
  static WeightTransferList bind(
      ModelPlan plan, TensorDirectory tensors, UnaryOperator<String> spelling) {
    WeightBinder binder = new WeightBinder(tensors, spelling);
    binder.requireComplete(plan);
    WeightTransferList.Builder list = WeightTransferList.newBuilder();
    for (Binding binding : plan.bindings()) {
      list.addTransfers(binder.transfer(binding));
    }
    binder.files.keySet().forEach(file -> list.addFiles(file.toAbsolutePath().toString()));
    return list.build();
  }

  private void requireComplete(ModelPlan plan) {
    Set<String> needed = new HashSet<>();
    List<Binding> missing = new ArrayList<>();
    for (Binding binding : plan.bindings()) {
      needed.add(binding.tensor());
      if (tensors.find(binding.tensor()).isEmpty()) {
        missing.add(binding);
      }
    }
    if (!missing.isEmpty()) {
      Binding first = missing.get(0);
      throw new CheckpointFormatException(
          tensors.source(),
          spelling.apply(first.tensor()),
          "missing"
              + others(missing.size() - 1)
              + " (expected: a tensor of shape "
              + TensorInfo.shapeText(first.shape())
              + ")");
    }
    List<String> extra =
        tensors.names().stream()
            .filter(name -> !needed.contains(name) && !plan.ignorable().contains(name))
            .toList();
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
              + plan.bindings().size()
              + " tensors that its settings call for, and no other)");
    }
  }

  private static String others(int count) {
    return count == 0 ? "" : ", as " + (count == 1 ? "is 1 other" : "are " + count + " others");
  }

  private WeightTransfer transfer(Binding binding) {
    TensorInfo tensor = tensors.get(binding.tensor());
    if (!tensor.shape().equals(binding.shape())) {
      throw new CheckpointFormatException(
          tensor.file(),
          Quote.clip(tensor.name()),
          "shape: "
              + TensorInfo.shapeText(tensor.shape())
              + " (expected: "
              + TensorInfo.shapeText(binding.shape())
              + ", by the model's settings)");
    }
    Format format = FORMATS.get(tensor.dtype());
    if (format == null) {
      throw new UnsupportedModelException(
          tensor.file()
              + ": "
              + Quote.clip(tensor.name())
              + ": dtype: "
              + tensor.dtype().label()
              + " (expected: "
              + supportedFormats()
              + "; convert the checkpoint)");
    }
    return WeightTransfer.newBuilder()
        .setName(tensor.name())
        .setDestination(binding.destination())
        .setSource(
            WeightSource.newBuilder()
                .setFile(files.computeIfAbsent(tensor.file(), file -> files.size()))
                .setOffset(tensor.offset())
                .setBytes(tensor.byteLength())
                .setFormat(format)
                .addAllShape(tensor.shape()))
        .build();
  }

  private static String supportedFormats() {
    return EnumSet.copyOf(FORMATS.keySet()).stream()
        .map(DType::label)
        .collect(Collectors.joining(", "));
  }
}

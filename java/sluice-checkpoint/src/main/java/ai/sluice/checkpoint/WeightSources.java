package ai.sluice.checkpoint;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.UnsupportedModelException;
import ai.sluice.checkpoint.arch.Binding;
import ai.sluice.checkpoint.arch.Binding.View;
import ai.sluice.checkpoint.arch.ModelPlan.ScaleBlock;
import ai.sluice.checkpoint.io.Quote;
import ai.sluice.proto.Format;
import ai.sluice.proto.WeightSource;
import com.google.common.collect.ImmutableMap;
import com.google.common.collect.Lists;
import com.google.common.collect.Maps;
import com.google.common.math.LongMath;
import java.math.RoundingMode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;

/** Where in a checkpoint's files the values of a binding lie, and where their scales. */
final class WeightSources {
  /** Formats that weights may be stored in, scales inside or none. */
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
              Map.entry(DType.Q6_K, Format.Q6_K),
              Map.entry(DType.MXFP4, Format.MXFP4)));

  private static final ImmutableMap<DType, Format> SCALE_FORMATS =
      Maps.immutableEnumMap(
          Map.of(
              DType.F32, Format.F32,
              DType.BF16, Format.BF16,
              DType.F16, Format.F16,
              DType.F8_E8M0, Format.F8_E8M0));
  private static final String SCALE_SUFFIX = "_scale_inv";

  private final TensorDirectory tensors;
  private final UnaryOperator<String> spelling;
  private final Optional<ScaleBlock> scaleBlock;
  private final Map<Path, Integer> files = new LinkedHashMap<>();

  /**
   * Creates the sources of one checkpoint.
   *
   * @param tensors by Hugging Face names
   * @param spelling how the checkpoint spells such a name, for messages
   * @param scaleBlock how 8-bit floats are scaled, if the settings say it
   */
  WeightSources(
      TensorDirectory tensors, UnaryOperator<String> spelling, Optional<ScaleBlock> scaleBlock) {
    this.tensors = tensors;
    this.spelling = spelling;
    this.scaleBlock = scaleBlock;
  }

  /** The files that sources refer to by number. */
  List<String> files() {
    return files.keySet().stream().map(file -> file.toAbsolutePath().toString()).toList();
  }

  /** The name of the tensor that holds a binding's scales, if they are apart. */
  Optional<String> scales(Binding binding) {
    if (binding.scales().isPresent()) {
      return binding.scales();
    }
    return tensors.get(binding.tensor()).dtype() == DType.F8_E4M3
        ? Optional.of(binding.tensor() + SCALE_SUFFIX)
        : Optional.empty();
  }

  /**
   * The source of a binding whose tensor is there.
   *
   * @throws CheckpointFormatException if the tensor or its scales have another shape
   * @throws UnsupportedModelException if its format is not supported there
   */
  WeightSource of(Binding binding) {
    TensorInfo tensor = tensors.get(binding.tensor());
    requireShape(tensor, binding.shape(), "by the model's settings");
    if (binding.scales().isPresent()) {
      return mxfp4(binding, tensor).build();
    }
    if (tensor.dtype() == DType.F8_E4M3) {
      return float8(binding, tensor).build();
    }
    Format format = FORMATS.get(tensor.dtype());
    if (format == null) {
      throw unsupported(tensor, supportedFormats() + "; convert the checkpoint");
    }
    WeightSource.Builder source = values(tensor, format, binding.view());
    long block = tensor.dtype().blockElements();
    if (block > 1 && binding.view().isPresent()) {
      requireWholeBlocks(tensor, binding.view().get(), block);
    }
    return source.build();
  }

  /** A view of blocked values may not cut a block, nor walk through one; rows may be turned. */
  private static void requireWholeBlocks(TensorInfo tensor, View view, long block) {
    List<Long> outer = Lists.newArrayList(view.strides());
    boolean unit = outer.isEmpty() || outer.remove(outer.size() - 1) == 1;
    long inner = view.shape().get(view.shape().size() - 1);
    boolean whole =
        unit
            && inner % block == 0
            && view.offset() % block == 0
            && outer.stream().allMatch(stride -> stride % block == 0);
    if (!whole) {
      throw unsupported(tensor, "F32, F16 or BF16, since its values are taken in another order");
    }
  }

  /** Every value, or those of a view, without scales. */
  private WeightSource.Builder values(TensorInfo tensor, Format format, Optional<View> view) {
    WeightSource.Builder source = start(tensor, format);
    if (view.isEmpty()) {
      return source
          .setOffset(tensor.offset())
          .setBytes(tensor.byteLength())
          .addAllShape(tensor.shape());
    }
    View taken = view.get();
    source
        .setOffset(tensor.offset() + tensor.dtype().byteLength(taken.offset()))
        .setBytes(tensor.dtype().byteLength(roundUp(span(taken), tensor.dtype().blockElements())))
        .addAllShape(taken.shape())
        .addAllStrides(taken.strides());
    return taken.transposed() ? source.setTransposed(true) : source;
  }

  private WeightSource.Builder start(TensorInfo tensor, Format format) {
    return WeightSource.newBuilder()
        .setFile(files.computeIfAbsent(tensor.file(), file -> files.size()))
        .setFormat(format);
  }

  /** Values from a view's first to its last, both included. */
  private static long span(View view) {
    if (view.strides().isEmpty()) {
      return view.shape().stream().reduce(1L, (a, b) -> a * b);
    }
    long last = 0;
    for (int i = 0; i < view.shape().size(); i++) {
      last += (view.shape().get(i) - 1) * view.strides().get(i);
    }
    return last + 1;
  }

  /** Packed nibbles; their view counts values, two a byte. */
  private WeightSource.Builder mxfp4(Binding binding, TensorInfo tensor) {
    View view = binding.view().orElseThrow();
    long inner = view.shape().get(view.shape().size() - 1);
    if (inner % Binding.MXFP4_BLOCK != 0) {
      throw new CheckpointFormatException(
          tensor.file(),
          Quote.clip(tensor.name()),
          inner + " columns (expected: a multiple of 32, the values of an MXFP4 block)");
    }
    requireBytes(tensor);
    TensorInfo scales = scales(tensor, binding.scales().orElseThrow());
    requireShape(
        scales,
        tensor.shape().subList(0, tensor.shape().size() - 1),
        "one per block of 32 values of " + tensor.name());
    if (scales.dtype() != DType.F8_E8M0) {
      requireBytes(scales);
    }
    View ofScales =
        new View(
            view.offset() / Binding.MXFP4_BLOCK,
            perBlock(view.shape(), view.shape().size() - 1, view.shape().size()),
            perBlock(view.strides(), 0, view.strides().size() - 1),
            false);
    return start(tensor, Format.MXFP4_SPLIT)
        .setOffset(tensor.offset() + view.offset() / 2)
        .setBytes(roundUp(span(view), 2) / 2)
        .addAllShape(view.shape())
        .addAllStrides(view.strides())
        .setScale(values(scales, Format.F8_E8M0, Optional.of(ofScales)))
        .setScaleBlockColumns(Binding.MXFP4_BLOCK);
  }

  private static List<Long> perBlock(List<Long> values, int begin, int end) {
    List<Long> divided = new ArrayList<>(values);
    for (int i = begin; i < Math.min(end, values.size()); i++) {
      divided.set(i, values.get(i) / Binding.MXFP4_BLOCK);
    }
    return divided;
  }

  /** 8-bit floats of matrices, one scale per block of rows and columns. */
  private WeightSource.Builder float8(Binding binding, TensorInfo tensor) {
    if (scaleBlock.isEmpty()) {
      throw unsupported(
          tensor, supportedFormats() + ", or a quantization_config that says how it is scaled");
    }
    List<Long> shape = tensor.shape();
    int dims = shape.size();
    if (dims < 2) {
      throw unsupported(tensor, "F32, F16 or BF16 for a vector");
    }
    ScaleBlock block = scaleBlock.get();
    long scaleRows = blocks(shape.get(dims - 2), block.rows());
    long scaleColumns = blocks(shape.get(dims - 1), block.columns());
    List<Long> scaleShape = new ArrayList<>(shape);
    scaleShape.set(dims - 2, scaleRows);
    scaleShape.set(dims - 1, scaleColumns);
    TensorInfo scales = scales(tensor, binding.tensor() + SCALE_SUFFIX);
    requireShape(
        scales,
        scaleShape,
        "one per block of " + block.rows() + " x " + block.columns() + " of " + tensor.name());
    Format scaleFormat = SCALE_FORMATS.get(scales.dtype());
    if (scaleFormat == null) {
      throw unsupported(scales, "F32, BF16, F16 or F8_E8M0");
    }
    Optional<View> ofScales =
        binding.view().map(view -> ofBlocks(tensor, view, block, shape.get(dims - 1), scaleRows));
    return values(tensor, Format.F8_E4M3, binding.view())
        .setScale(values(scales, scaleFormat, ofScales))
        .setScaleBlockRows(block.rows())
        .setScaleBlockColumns(block.columns());
  }

  /** The scales of a view that takes whole, neighbouring rows and starts on a block's first one. */
  private static View ofBlocks(
      TensorInfo tensor, View view, ScaleBlock block, long columns, long scaleRows) {
    long scaleColumns = blocks(columns, block.columns());
    List<Long> shape = new ArrayList<>(view.shape());
    int dims = shape.size();
    boolean rows =
        !view.transposed()
            && dims == tensor.shape().size()
            && shape.get(dims - 1) == columns
            && view.offset() % (columns * block.rows()) == 0
            && (view.strides().isEmpty() || view.strides().get(dims - 2) == columns);
    if (!rows) {
      throw unsupported(
          tensor,
          "F32, F16 or BF16, since its values are taken in another order than blocks of "
              + block.rows()
              + " x "
              + block.columns());
    }
    shape.set(dims - 2, blocks(shape.get(dims - 2), block.rows()));
    shape.set(dims - 1, scaleColumns);
    List<Long> strides = new ArrayList<>(List.of(scaleColumns, 1L));
    if (dims == 3) {
      strides.add(0, scaleRows * scaleColumns);
    }
    return new View(view.offset() / (columns * block.rows()) * scaleColumns, shape, strides, false);
  }

  private static long blocks(long extent, int block) {
    return LongMath.divide(extent, block, RoundingMode.CEILING);
  }

  private static long roundUp(long value, long multiple) {
    return LongMath.divide(value, multiple, RoundingMode.CEILING) * multiple;
  }

  private TensorInfo scales(TensorInfo of, String name) {
    return tensors
        .find(name)
        .orElseThrow(
            () ->
                new CheckpointFormatException(
                    tensors.source(),
                    Quote.clip(spelling.apply(name)),
                    "missing (expected: the scales of " + Quote.clip(of.name()) + ")"));
  }

  private static void requireShape(TensorInfo tensor, List<Long> shape, String why) {
    if (!tensor.shape().equals(shape)) {
      throw new CheckpointFormatException(
          tensor.file(),
          Quote.clip(tensor.name()),
          "shape: "
              + TensorInfo.shapeText(tensor.shape())
              + " (expected: "
              + TensorInfo.shapeText(shape)
              + ", "
              + why
              + ")");
    }
  }

  private static void requireBytes(TensorInfo tensor) {
    if (tensor.dtype() != DType.U8) {
      throw unsupported(tensor, "U8, for MXFP4");
    }
  }

  private static UnsupportedModelException unsupported(TensorInfo tensor, String expected) {
    return new UnsupportedModelException(
        tensor.file()
            + ": "
            + Quote.clip(tensor.name())
            + ": dtype: "
            + tensor.dtype().label()
            + " (expected: "
            + expected
            + ")");
  }

  private static String supportedFormats() {
    return EnumSet.copyOf(FORMATS.keySet()).stream()
        .map(DType::label)
        .collect(Collectors.joining(", "));
  }
}

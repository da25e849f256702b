package ai.sluice.checkpoint.arch;

import ai.sluice.proto.WeightDestination;
import java.util.List;
import java.util.Optional;

/**
 * One tensor, or some of its values, and their place in the model.
 *
 * @param tensor its Hugging Face name
 * @param shape the shape that the checkpoint must give it, outermost first
 * @param destination the slot that it fills
 * @param view which of its values go there; absent: all, as they lie
 * @param scales where its values are packed as MXFP4, the name of the tensor with their scales; the
 *     shape is then that of the packed bytes, {@code [.., columns / 32, 16]}
 */
public record Binding(
    String tensor,
    List<Long> shape,
    WeightDestination destination,
    Optional<View> view,
    Optional<String> scales) {

  /** Values that share one MXFP4 scale. */
  public static final int MXFP4_BLOCK = 32;

  /** Bytes of an MXFP4 block without its scale. */
  public static final int MXFP4_BYTES = 16;

  /** Copies the shape. */
  public Binding {
    shape = List.copyOf(shape);
  }

  /** A whole tensor as it lies. */
  public Binding(String tensor, List<Long> shape, WeightDestination destination) {
    this(tensor, shape, destination, Optional.empty(), Optional.empty());
  }

  /**
   * Some values of a tensor, in values of the tensor (unpacked, where it is packed).
   *
   * @param offset the first one
   * @param shape extents, outermost first; three are [experts, rows, columns]
   * @param strides distances of neighbours along each dimension; empty: dense
   * @param transposed the last two dimensions are [columns, rows], inputs before outputs
   */
  public record View(long offset, List<Long> shape, List<Long> strides, boolean transposed) {
    /** Copies the lists. */
    public View {
      shape = List.copyOf(shape);
      strides = List.copyOf(strides);
    }

    /** The same values in another shape. */
    static View reshaped(long... shape) {
      return new View(0, longs(shape), List.of(), false);
    }

    /** All values of a dense tensor whose last two dimensions are [columns, rows]. */
    static View transposed(long... shape) {
      return new View(0, longs(shape), List.of(), true);
    }
  }

  /** The numbers as a list. */
  static List<Long> longs(long... values) {
    return com.google.common.primitives.Longs.asList(values);
  }
}

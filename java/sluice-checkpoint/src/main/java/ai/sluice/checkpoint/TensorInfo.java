package ai.sluice.checkpoint;

import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;

/**
 * Where one tensor lies and what it is. Every field has been checked against the file: the bytes
 * are inside it, and their number is what dtype and shape ask for.
 *
 * @param name the tensor's name in the checkpoint
 * @param file the file that holds it
 * @param offset its first byte, absolute in the file
 * @param byteLength its size in bytes; 0 when a dimension is 0
 * @param dtype how its values are stored
 * @param shape its dimensions, outermost first (also for GGUF, which stores them innermost first);
 *     empty for a single value
 */
public record TensorInfo(
    String name, Path file, long offset, long byteLength, DType dtype, List<Long> shape) {

  /** Copies the shape. */
  public TensorInfo {
    shape = List.copyOf(shape);
  }

  /** The number of values: the product of the dimensions. */
  public long elements() {
    long product = 1;
    for (long dimension : shape) {
      product *= dimension;
    }
    return product;
  }

  /** Dtype and shape as messages show them, for example {@code BF16 [576, 192]}. */
  public String describe() {
    return dtype.label() + " " + shapeText(shape);
  }

  static String shapeText(List<Long> shape) {
    return shape.stream().map(String::valueOf).collect(Collectors.joining(", ", "[", "]"));
  }
}

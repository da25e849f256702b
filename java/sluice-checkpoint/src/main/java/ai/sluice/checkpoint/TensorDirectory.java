package ai.sluice.checkpoint;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.checkpoint.io.Quote;
import com.google.common.collect.ImmutableMap;
import java.nio.file.Path;
import java.util.Collection;
import java.util.Collections;
import java.util.EnumMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/** The tensors of a checkpoint by name, whichever files hold them, in the files' order. */
public final class TensorDirectory {
  private static final int NAMES_IN_MESSAGE = 5;

  private final Path source;
  private final ImmutableMap<String, TensorInfo> tensors;

  /**
   * Creates a directory.
   *
   * @param source the file or folder that messages name
   * @param tensors the tensors by name
   */
  TensorDirectory(Path source, Map<String, TensorInfo> tensors) {
    this.source = source;
    this.tensors = ImmutableMap.copyOf(tensors);
  }

  /** The file or folder that the tensors come from. */
  public Path source() {
    return source;
  }

  /** The number of tensors. */
  public int size() {
    return tensors.size();
  }

  /** All tensors; the collection cannot be changed. */
  public Collection<TensorInfo> tensors() {
    return Collections.unmodifiableCollection(tensors.values());
  }

  /** All names, in the files' order; the set cannot be changed. */
  public Set<String> names() {
    return Collections.unmodifiableSet(tensors.keySet());
  }

  /** The tensor of this name, if there is one. */
  public Optional<TensorInfo> find(String name) {
    return Optional.ofNullable(tensors.get(name));
  }

  /**
   * The tensor of this name.
   *
   * @throws CheckpointFormatException if there is none; the message lists what there is
   */
  public TensorInfo get(String name) {
    TensorInfo tensor = tensors.get(name);
    if (tensor == null) {
      throw new CheckpointFormatException(
          source, Quote.clip(name), "no such tensor (present: " + present() + ")");
    }
    return tensor;
  }

  /** Bytes of all tensors together. */
  public long totalBytes() {
    return tensors.values().stream().mapToLong(TensorInfo::byteLength).sum();
  }

  /** Values of all tensors together. */
  public long totalElements() {
    return tensors.values().stream().mapToLong(TensorInfo::elements).sum();
  }

  /** Number of values per dtype, only of dtypes that occur. */
  public Map<DType, Long> elementsByDType() {
    EnumMap<DType, Long> histogram = new EnumMap<>(DType.class);
    for (TensorInfo tensor : tensors.values()) {
      histogram.merge(tensor.dtype(), tensor.elements(), Long::sum);
    }
    return Collections.unmodifiableMap(histogram);
  }

  /** Bytes per dtype, only of dtypes that occur. */
  public Map<DType, Long> bytesByDType() {
    EnumMap<DType, Long> histogram = new EnumMap<>(DType.class);
    for (TensorInfo tensor : tensors.values()) {
      histogram.merge(tensor.dtype(), tensor.byteLength(), Long::sum);
    }
    return Collections.unmodifiableMap(histogram);
  }

  private String present() {
    if (tensors.isEmpty()) {
      return "none";
    }
    String names =
        tensors.keySet().stream()
            .limit(NAMES_IN_MESSAGE)
            .map(Quote::clip)
            .collect(Collectors.joining(", "));
    int more = tensors.size() - NAMES_IN_MESSAGE;
    return more > 0 ? names + " and " + more + " more" : names;
  }
}

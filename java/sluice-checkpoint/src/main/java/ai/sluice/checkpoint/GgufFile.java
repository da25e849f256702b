package ai.sluice.checkpoint;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.UnsupportedModelException;
import ai.sluice.checkpoint.io.PositionalFile;
import ai.sluice.checkpoint.io.Quote;
import com.google.common.math.LongMath;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * One GGUF file, version 2 or 3, little-endian: its metadata and where its tensors lie. The values
 * stay in the file; the file is open only while {@link #open} runs.
 *
 * <p>Checked: counts (at most 100,000 keys and 100,000 tensors), text lengths, array lengths and
 * nesting, duplicate keys and names, 1 to 4 dimensions of at least 1, known tensor types, rows of
 * whole blocks, sizes that do not overflow, offsets that are aligned, inside the file and do not
 * overlap, and a header of at most 100,000,000 bytes.
 */
public final class GgufFile {
  private static final byte[] MAGIC = "GGUF".getBytes(StandardCharsets.US_ASCII);
  private static final long MAX_TENSORS = 100_000;
  private static final long MAX_KEYS = 100_000;
  private static final int MAX_KEY_BYTES = 65_535;
  private static final int MAX_NAME_BYTES = 63;
  private static final int MAX_DIMENSIONS = 4;
  private static final int DEFAULT_ALIGNMENT = 32;
  private static final int MAX_ALIGNMENT = 1 << 20;
  private static final String ALIGNMENT_KEY = "general.alignment";

  private final Path path;
  private final int version;
  private final GgufMetadata metadata;
  private final TensorDirectory tensors;

  private GgufFile(Path path, int version, GgufMetadata metadata, TensorDirectory tensors) {
    this.path = path;
    this.version = version;
    this.metadata = metadata;
    this.tensors = tensors;
  }

  /**
   * Reads and checks the header of a file.
   *
   * @param path a regular file
   * @throws CheckpointFormatException if it cannot be read or breaks a rule of the format
   * @throws UnsupportedModelException if it is big-endian or of another version than 2 and 3
   */
  public static GgufFile open(Path path) {
    try (PositionalFile file = PositionalFile.open(path)) {
      return read(file);
    }
  }

  /** The file. */
  public Path path() {
    return path;
  }

  /** The format's version, 2 or 3. */
  public int version() {
    return version;
  }

  /** The metadata. */
  public GgufMetadata metadata() {
    return metadata;
  }

  /** The tensors, in the header's order; shapes are outermost first. */
  public TensorDirectory tensors() {
    return tensors;
  }

  private static GgufFile read(PositionalFile file) {
    GgufReader reader = new GgufReader(file);
    int version = readVersion(reader, file.path());
    long tensorCount = reader.readCount("number of tensors", MAX_TENSORS);
    long keyCount = reader.readCount("number of keys", MAX_KEYS);
    GgufMetadata metadata =
        new GgufMetadata(file.path(), readMetadata(reader, file.path(), keyCount));
    int alignment = alignment(metadata);
    List<Entry> entries = new ArrayList<>();
    for (long i = 0; i < tensorCount; i++) {
      entries.add(readEntry(reader, i, alignment));
    }
    long dataStart = alignUp(reader.position(), alignment);
    Map<String, TensorInfo> tensors = new LinkedHashMap<>();
    for (Entry entry : entries) {
      TensorInfo tensor = place(file, reader, entry, dataStart);
      if (tensors.put(tensor.name(), tensor) != null) {
        throw new CheckpointFormatException(
            file.path(), Quote.clip(tensor.name()), "listed twice (expected: once)");
      }
    }
    checkOverlap(file.path(), tensors);
    return new GgufFile(file.path(), version, metadata, new TensorDirectory(file.path(), tensors));
  }

  private static int readVersion(GgufReader reader, Path path) {
    for (byte expected : MAGIC) {
      if (reader.readUint8() != expected) {
        throw reader.bad("does not begin with GGUF (expected: a GGUF file)");
      }
    }
    long version = reader.readUint32();
    if (version != 0 && (version & 0xffff) == 0) {
      throw new UnsupportedModelException(
          path + ": big-endian GGUF (expected: little-endian; convert the file)");
    }
    if (version != 2 && version != 3) {
      throw new UnsupportedModelException(
          path + ": GGUF version " + version + " (expected: 2 or 3; convert the file)");
    }
    return (int) version;
  }

  private static Map<String, Object> readMetadata(GgufReader reader, Path path, long count) {
    Map<String, Object> values = new LinkedHashMap<>();
    for (long i = 0; i < count; i++) {
      reader.at("key " + i);
      String key = reader.readString("key", MAX_KEY_BYTES);
      if (key.isEmpty()) {
        throw reader.bad("is empty (expected: at least one character)");
      }
      reader.at(key);
      if (values.put(key, readValue(reader, path, key, readType(reader))) != null) {
        throw reader.bad("present twice (expected: once)");
      }
    }
    reader.at(null);
    return values;
  }

  private static GgufType readType(GgufReader reader) {
    long id = reader.readUint32();
    return GgufType.of(id)
        .orElseThrow(() -> reader.bad("value type: " + id + " (expected: 0 to 12)"));
  }

  private static Object readValue(GgufReader reader, Path path, String key, GgufType type) {
    if (type == GgufType.STRING) {
      return reader.readString("length of the text", Integer.MAX_VALUE);
    }
    if (type == GgufType.ARRAY) {
      return readArray(reader, path, key);
    }
    PackedNumbers one = new PackedNumbers(type, reader.readBytes(type.minBytes()));
    if (type.isFloat()) {
      return one.floating(0);
    }
    long value = one.integer(0);
    if (type == GgufType.BOOL) {
      return truth(reader, value);
    }
    if (type == GgufType.UINT64 && value < 0) {
      throw reader.bad(
          Long.toUnsignedString(value) + " (expected: at most " + Long.MAX_VALUE + ")");
    }
    return value;
  }

  private static boolean truth(GgufReader reader, long value) {
    if (value > 1) {
      throw reader.bad("truth value: " + value + " (expected: 0 or 1)");
    }
    return value == 1;
  }

  private static Object readArray(GgufReader reader, Path path, String key) {
    GgufType type = readType(reader);
    if (type == GgufType.ARRAY) {
      throw reader.bad("an array of arrays (expected: texts, numbers or truth values)");
    }
    long count = reader.readCount("array length", reader.remaining() / type.minBytes());
    if (type == GgufType.STRING) {
      return reader.readStrings(path, key, (int) count);
    }
    PackedNumbers numbers =
        new PackedNumbers(type, reader.readBytes((int) (count * type.minBytes())));
    if (type == GgufType.BOOL) {
      for (int i = 0; i < numbers.size(); i++) {
        truth(reader, numbers.integer(i));
      }
    }
    return numbers;
  }

  private static int alignment(GgufMetadata metadata) {
    long alignment = metadata.integer(ALIGNMENT_KEY).orElse((long) DEFAULT_ALIGNMENT);
    if (alignment < 1 || alignment > MAX_ALIGNMENT || !LongMath.isPowerOfTwo(alignment)) {
      throw new CheckpointFormatException(
          metadata.file(),
          ALIGNMENT_KEY,
          alignment + " (expected: a power of two up to " + MAX_ALIGNMENT + ")");
    }
    return (int) alignment;
  }

  /** A tensor as the header gives it: {@code offset} counts from the start of the data. */
  private record Entry(String name, DType dtype, List<Long> shape, long bytes, long offset) {}

  private static Entry readEntry(GgufReader reader, long index, int alignment) {
    reader.at("tensor " + index);
    String name = reader.readString("name", MAX_NAME_BYTES);
    if (name.isEmpty()) {
      throw reader.bad("name is empty (expected: 1 to " + MAX_NAME_BYTES + " bytes)");
    }
    reader.at(name);
    long rank = reader.readUint32();
    if (rank < 1 || rank > MAX_DIMENSIONS) {
      throw reader.bad(
          "number of dimensions: " + rank + " (expected: 1 to " + MAX_DIMENSIONS + ")");
    }
    // Innermost first in the file; outermost first everywhere else.
    Long[] shape = new Long[(int) rank];
    for (int i = (int) rank - 1; i >= 0; i--) {
      long dimension = reader.readInt64();
      if (dimension < 1) {
        throw reader.bad(
            "dimension "
                + (rank - 1 - i)
                + ": "
                + Long.toUnsignedString(dimension)
                + " (expected: 1 to "
                + Long.MAX_VALUE
                + ")");
      }
      shape[i] = dimension;
    }
    long typeId = reader.readUint32();
    DType dtype =
        DType.ofGguf(typeId)
            .orElseThrow(
                () ->
                    reader.bad(
                        "tensor type: "
                            + typeId
                            + " (expected: a known one, for example 0 for F32 or 8 for Q8_0)"));
    List<Long> dimensions = List.of(shape);
    long rowElements = shape[shape.length - 1];
    if (rowElements % dtype.blockElements() != 0) {
      throw reader.bad(
          dtype.label()
              + " "
              + TensorInfo.shapeText(dimensions)
              + ": rows of "
              + rowElements
              + " values (expected: a multiple of "
              + dtype.blockElements()
              + ")");
    }
    long offset = reader.readInt64();
    if (offset < 0 || offset % alignment != 0) {
      throw reader.bad(
          "offset: "
              + Long.toUnsignedString(offset)
              + " (expected: a multiple of "
              + alignment
              + " inside the file)");
    }
    return new Entry(name, dtype, dimensions, byteLength(reader, dtype, dimensions), offset);
  }

  private static long byteLength(GgufReader reader, DType dtype, List<Long> shape) {
    try {
      long elements = 1;
      for (long dimension : shape) {
        elements = LongMath.checkedMultiply(elements, dimension);
      }
      return dtype.byteLength(elements);
    } catch (ArithmeticException e) {
      throw reader.bad(
          "shape: "
              + TensorInfo.shapeText(shape)
              + " overflows (expected: at most "
              + Long.MAX_VALUE
              + " bytes)");
    }
  }

  private static long alignUp(long position, int alignment) {
    return (position + alignment - 1) / alignment * alignment;
  }

  private static TensorInfo place(
      PositionalFile file, GgufReader reader, Entry entry, long dataStart) {
    reader.at(entry.name());
    long room = file.size() - dataStart;
    // offset <= room first, so that the difference below cannot overflow.
    if (entry.offset() > room || entry.bytes() > room - entry.offset()) {
      throw reader.bad(
          entry.bytes()
              + " bytes at offset "
              + entry.offset()
              + " of the data (expected: inside its "
              + Math.max(room, 0)
              + " bytes; the file may be truncated)");
    }
    return new TensorInfo(
        entry.name(),
        file.path(),
        dataStart + entry.offset(),
        entry.bytes(),
        entry.dtype(),
        entry.shape());
  }

  private static void checkOverlap(Path path, Map<String, TensorInfo> tensors) {
    List<TensorInfo> byOffset = new ArrayList<>(tensors.values());
    byOffset.sort(Comparator.comparingLong(TensorInfo::offset));
    @Nullable TensorInfo last = null;
    for (TensorInfo tensor : byOffset) {
      if (last != null && tensor.offset() < last.offset() + last.byteLength()) {
        throw new CheckpointFormatException(
            path,
            Quote.clip(tensor.name()),
            "begins at byte "
                + tensor.offset()
                + ", inside "
                + Quote.clip(last.name())
                + ", which ends at "
                + (last.offset() + last.byteLength())
                + " (expected: no overlap)");
      }
      last = tensor;
    }
  }
}

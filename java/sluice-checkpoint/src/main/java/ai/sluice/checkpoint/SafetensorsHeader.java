package ai.sluice.checkpoint;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.checkpoint.io.PositionalFile;
import ai.sluice.checkpoint.io.Quote;
import ai.sluice.checkpoint.io.StrictJson;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.google.common.collect.ImmutableMap;
import com.google.common.math.LongMath;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The parsed and checked header of one safetensors file.
 *
 * <p>Format: 8 bytes little-endian length N, N bytes of JSON (an object from tensor name to dtype,
 * shape and data_offsets, and {@code __metadata__}), then the data, which the tensors must cover
 * completely and without overlap. Parsed as a stream: a hostile header costs no more memory than
 * its own length and one record per tensor.
 *
 * @param metadata the texts under {@code __metadata__}
 * @param tensors the tensors by name, in the header's order
 */
record SafetensorsHeader(
    ImmutableMap<String, String> metadata, ImmutableMap<String, TensorInfo> tensors) {
  static final int LENGTH_BYTES = 8;
  static final long MAX_HEADER_BYTES = 100_000_000;
  static final int MAX_TENSORS = 1_000_000;
  static final int MAX_RANK = 64;

  private static final String METADATA = "__metadata__";
  // The header object, a tensor's object, and its shape.
  private static final JsonFactory JSON = StrictJson.factory(3);

  /** A tensor as the header gives it, with offsets relative to the data. */
  private record Entry(String name, DType dtype, List<Long> shape, long begin, long end) {}

  /**
   * Reads and checks the header of an open file.
   *
   * @throws CheckpointFormatException if any rule of the format is broken
   */
  static SafetensorsHeader read(PositionalFile file) {
    Path path = file.path();
    if (file.size() < LENGTH_BYTES) {
      throw new CheckpointFormatException(
          path,
          null,
          "file size: "
              + file.size()
              + " bytes (expected: at least "
              + LENGTH_BYTES
              + ", the header's length)");
    }
    ByteBuffer length = ByteBuffer.allocate(LENGTH_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    file.readFully(0, length);
    long headerBytes = length.getLong(0);
    if (headerBytes < 0 || headerBytes > MAX_HEADER_BYTES) {
      throw new CheckpointFormatException(
          path,
          null,
          "header length: "
              + Long.toUnsignedString(headerBytes)
              + " (expected: at most "
              + MAX_HEADER_BYTES
              + "; is this a safetensors file?)");
    }
    if (headerBytes > file.size() - LENGTH_BYTES) {
      throw new CheckpointFormatException(
          path,
          null,
          "header length: "
              + headerBytes
              + " (expected: at most "
              + (file.size() - LENGTH_BYTES)
              + ", what the file of "
              + file.size()
              + " bytes holds after its first 8; it may be truncated)");
    }
    byte[] json = file.read(LENGTH_BYTES, (int) headerBytes);
    return parse(path, json, file.size());
  }

  /** Parses {@code json}, the header of a file of {@code fileSize} bytes. */
  static SafetensorsHeader parse(Path path, byte[] json, long fileSize) {
    Map<String, String> metadata = new LinkedHashMap<>();
    List<Entry> entries = new ArrayList<>();
    try (JsonParser parser = StrictJson.parser(JSON, path, json)) {
      if (parser.nextToken() != JsonToken.START_OBJECT) {
        throw new CheckpointFormatException(
            path, null, "header is " + kind(parser.currentToken()) + " (expected: a JSON object)");
      }
      while (parser.nextToken() != JsonToken.END_OBJECT) {
        String name = parser.currentName();
        parser.nextToken();
        if (name.equals(METADATA)) {
          readMetadata(path, parser, metadata);
        } else {
          entries.add(readEntry(path, parser, name));
          if (entries.size() > MAX_TENSORS) {
            throw new CheckpointFormatException(
                path, null, "more than " + MAX_TENSORS + " tensors (expected: at most that many)");
          }
        }
      }
      if (parser.nextToken() != null) {
        throw new CheckpointFormatException(
            path, null, "text after the header's object (expected: only white space)");
      }
    } catch (IOException e) {
      throw StrictJson.notJson(path, e);
    }
    long dataStart = LENGTH_BYTES + (long) json.length;
    checkCoverage(path, entries, fileSize - dataStart);
    ImmutableMap.Builder<String, TensorInfo> tensors =
        ImmutableMap.builderWithExpectedSize(entries.size());
    for (Entry entry : entries) {
      tensors.put(
          entry.name(),
          new TensorInfo(
              entry.name(),
              path,
              dataStart + entry.begin(),
              entry.end() - entry.begin(),
              entry.dtype(),
              entry.shape()));
    }
    return new SafetensorsHeader(ImmutableMap.copyOf(metadata), tensors.buildOrThrow());
  }

  private static void readMetadata(Path path, JsonParser parser, Map<String, String> metadata)
      throws IOException {
    if (parser.currentToken() != JsonToken.START_OBJECT) {
      throw new CheckpointFormatException(
          path, METADATA, "is " + kind(parser.currentToken()) + " (expected: an object of texts)");
    }
    while (parser.nextToken() != JsonToken.END_OBJECT) {
      String key = parser.currentName();
      if (parser.nextToken() != JsonToken.VALUE_STRING) {
        throw new CheckpointFormatException(
            path,
            METADATA,
            Quote.clip(key) + " is " + kind(parser.currentToken()) + " (expected: a text)");
      }
      metadata.put(key, parser.getText());
    }
  }

  private static Entry readEntry(Path path, JsonParser parser, String name) throws IOException {
    if (parser.currentToken() != JsonToken.START_OBJECT) {
      throw bad(
          path,
          name,
          "entry is "
              + kind(parser.currentToken())
              + " (expected: an object with dtype, shape and data_offsets)");
    }
    @Nullable DType dtype = null;
    long @Nullable [] shape = null;
    long @Nullable [] offsets = null;
    while (parser.nextToken() != JsonToken.END_OBJECT) {
      String key = parser.currentName();
      parser.nextToken();
      switch (key) {
        case "dtype" -> dtype = readDType(path, parser, name);
        case "shape" -> shape = readLongs(path, parser, name, key, MAX_RANK);
        case "data_offsets" -> offsets = readLongs(path, parser, name, key, 2);
        default ->
            throw bad(
                path,
                name,
                "unknown key " + Quote.clip(key) + " (expected: dtype, shape, data_offsets)");
      }
    }
    if (dtype == null || shape == null || offsets == null) {
      String missing = dtype == null ? "dtype" : shape == null ? "shape" : "data_offsets";
      throw bad(path, name, missing + " is missing (expected: dtype, shape and data_offsets)");
    }
    if (offsets.length != 2) {
      throw bad(
          path,
          name,
          "data_offsets: " + Arrays.toString(offsets) + " (expected: 2 numbers, begin and end)");
    }
    if (offsets[1] < offsets[0]) {
      throw bad(
          path,
          name,
          "data_offsets: " + Arrays.toString(offsets) + " (expected: end not before begin)");
    }
    long bytes = byteLength(path, name, dtype, shape);
    if (bytes != offsets[1] - offsets[0]) {
      throw bad(
          path,
          name,
          "data_offsets: "
              + Arrays.toString(offsets)
              + " span "
              + (offsets[1] - offsets[0])
              + " bytes (expected: "
              + bytes
              + " for "
              + dtype.label()
              + " "
              + Arrays.toString(shape)
              + ")");
    }
    return new Entry(name, dtype, asList(shape), offsets[0], offsets[1]);
  }

  private static DType readDType(Path path, JsonParser parser, String name) throws IOException {
    if (parser.currentToken() != JsonToken.VALUE_STRING) {
      throw bad(path, name, "dtype is " + kind(parser.currentToken()) + " (expected: a text)");
    }
    String text = parser.getText();
    return DType.ofSafetensors(text)
        .orElseThrow(
            () ->
                bad(
                    path,
                    name,
                    "dtype: "
                        + Quote.clip(text)
                        + " (expected: a safetensors dtype such as F32, F16 or BF16)"));
  }

  private static long[] readLongs(
      Path path, JsonParser parser, String name, String key, int maxCount) throws IOException {
    if (parser.currentToken() != JsonToken.START_ARRAY) {
      throw bad(
          path,
          name,
          key + " is " + kind(parser.currentToken()) + " (expected: an array of whole numbers)");
    }
    long[] values = new long[4];
    int count = 0;
    while (parser.nextToken() != JsonToken.END_ARRAY) {
      if (parser.currentToken() != JsonToken.VALUE_NUMBER_INT) {
        throw bad(
            path,
            name,
            key
                + "["
                + count
                + "] is "
                + kind(parser.currentToken())
                + " (expected: a whole number)");
      }
      if (parser.getNumberType() == JsonParser.NumberType.BIG_INTEGER
          || parser.getLongValue() < 0) {
        throw bad(
            path,
            name,
            key
                + "["
                + count
                + "]: "
                + Quote.clip(parser.getText())
                + " (expected: 0 to "
                + Long.MAX_VALUE
                + ")");
      }
      if (count == maxCount) {
        throw bad(
            path,
            name,
            key
                + ": more than "
                + maxCount
                + " numbers (expected: "
                + (key.equals("shape") ? "at most " + maxCount : "begin and end")
                + ")");
      }
      if (count == values.length) {
        values = Arrays.copyOf(values, 2 * count);
      }
      values[count++] = parser.getLongValue();
    }
    return Arrays.copyOf(values, count);
  }

  private static long byteLength(Path path, String name, DType dtype, long[] shape) {
    try {
      long elements = 1;
      for (long dimension : shape) {
        elements = LongMath.checkedMultiply(elements, dimension);
      }
      if (elements % dtype.blockElements() != 0) {
        throw bad(
            path,
            name,
            dtype.label()
                + " "
                + Arrays.toString(shape)
                + ": "
                + elements
                + " values end inside a byte (expected: a multiple of "
                + dtype.blockElements()
                + ")");
      }
      return dtype.byteLength(elements);
    } catch (ArithmeticException e) {
      throw bad(
          path,
          name,
          "shape: "
              + Arrays.toString(shape)
              + " overflows (expected: at most "
              + Long.MAX_VALUE
              + " bytes)");
    }
  }

  /** The tensors, by offset, must cover the data from its first to its last byte. */
  private static void checkCoverage(Path path, List<Entry> entries, long dataBytes) {
    List<Entry> byOffset = new ArrayList<>(entries);
    byOffset.sort(Comparator.comparingLong(Entry::begin).thenComparingLong(Entry::end));
    long end = 0;
    @Nullable Entry last = null;
    for (Entry entry : byOffset) {
      if (entry.begin() != end) {
        String after = last == null ? "the data's start" : Quote.clip(last.name());
        String problem =
            entry.begin() < end
                ? "overlaps " + after + ", which ends at " + end
                : "leaves a hole of " + (entry.begin() - end) + " bytes after " + after;
        throw bad(
            path,
            entry.name(),
            "data_offsets: begin "
                + entry.begin()
                + " "
                + problem
                + " (expected: begin "
                + end
                + ")");
      }
      end = entry.end();
      last = entry;
    }
    if (end != dataBytes) {
      String problem =
          end > dataBytes
              ? "the file may be truncated"
              : "bytes that belong to no tensor are not allowed";
      throw new CheckpointFormatException(
          path,
          last == null ? null : Quote.clip(last.name()),
          "tensors end at byte "
              + end
              + " of the data (expected: "
              + dataBytes
              + ", where the file ends; "
              + problem
              + ")");
    }
  }

  private static List<Long> asList(long[] values) {
    return Arrays.stream(values).boxed().toList();
  }

  private static CheckpointFormatException bad(Path path, String tensor, String problem) {
    return new CheckpointFormatException(path, Quote.clip(tensor), problem);
  }

  private static String kind(@Nullable JsonToken token) {
    if (token == null) {
      return "nothing";
    }
    return switch (token) {
      case START_OBJECT -> "an object";
      case START_ARRAY -> "an array";
      case VALUE_STRING -> "a text";
      case VALUE_NUMBER_INT -> "a whole number";
      case VALUE_NUMBER_FLOAT -> "a number with a fraction";
      case VALUE_TRUE, VALUE_FALSE -> "a truth value";
      case VALUE_NULL -> "null";
      default -> token.name();
    };
  }
}

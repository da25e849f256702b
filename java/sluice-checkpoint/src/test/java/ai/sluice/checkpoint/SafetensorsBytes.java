package ai.sluice.checkpoint;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Collectors;

/** Makes safetensors files for tests: raw bytes of any header, or well-formed files of zeros. */
final class SafetensorsBytes {
  private final Map<String, String> entries = new LinkedHashMap<>();
  private long end;

  /** A file of this header text and this many data bytes. */
  static byte[] of(String header, int dataBytes) {
    return of(header.getBytes(StandardCharsets.UTF_8), dataBytes);
  }

  static byte[] of(byte[] header, int dataBytes) {
    return withLength(header.length, header, dataBytes);
  }

  /** A file whose first 8 bytes claim {@code length}, whatever the header is. */
  static byte[] withLength(long length, byte[] header, int dataBytes) {
    return ByteBuffer.allocate(8 + header.length + dataBytes)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(length)
        .put(header)
        .array();
  }

  /** Adds a tensor after those added before. */
  SafetensorsBytes add(String name, DType dtype, long... shape) {
    long elements = 1;
    for (long dimension : shape) {
      elements *= dimension;
    }
    long bytes = dtype.byteLength(elements);
    entries.put(
        name,
        "\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%d,%d]}"
            .formatted(name, dtype.label(), java.util.Arrays.toString(shape), end, end + bytes));
    end += bytes;
    return this;
  }

  byte[] bytes() {
    return of(entries.values().stream().collect(Collectors.joining(",", "{", "}")), (int) end);
  }

  static Path write(Path file, byte[] bytes) {
    try {
      return Files.write(file, bytes);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}

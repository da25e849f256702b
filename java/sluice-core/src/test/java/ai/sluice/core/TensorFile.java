package ai.sluice.core;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** A safetensors file in memory, for tests that change one. */
final class TensorFile {
  private static final Pattern ENTRY =
      Pattern.compile(
          "\"([^\"]+)\":\\{\"dtype\":\"(\\w+)\",\"shape\":\\[([0-9,]*)],"
              + "\"data_offsets\":\\[(\\d+),(\\d+)]}");

  /** A tensor; {@code shape} as in the header, without brackets. */
  record Tensor(String dtype, String shape, byte[] data) {}

  final Map<String, Tensor> tensors = new LinkedHashMap<>();

  static TensorFile read(Path file) {
    try {
      byte[] bytes = Files.readAllBytes(file);
      int header = (int) ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong();
      Matcher entry =
          ENTRY.matcher(
              new String(bytes, 8, header, StandardCharsets.UTF_8).replaceAll("\\s+", ""));
      TensorFile read = new TensorFile();
      while (entry.find()) {
        int begin = 8 + header + Integer.parseInt(entry.group(4));
        int end = 8 + header + Integer.parseInt(entry.group(5));
        read.tensors.put(
            entry.group(1),
            new Tensor(entry.group(2), entry.group(3), Arrays.copyOfRange(bytes, begin, end)));
      }
      return read;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  void write(Path file) {
    StringBuilder header = new StringBuilder("{");
    int at = 0;
    for (Map.Entry<String, Tensor> entry : tensors.entrySet()) {
      Tensor tensor = entry.getValue();
      int end = at + tensor.data().length;
      header.append(at == 0 ? "" : ",").append('"').append(entry.getKey())
          .append("\":{\"dtype\":\"").append(tensor.dtype()).append("\",\"shape\":[")
          .append(tensor.shape()).append("],\"data_offsets\":[").append(at).append(',')
          .append(end).append("]}");
      at = end;
    }
    header.append('}').append(" ".repeat((8 - header.length() % 8) % 8));
    byte[] text = header.toString().getBytes(StandardCharsets.UTF_8);
    ByteBuffer all = ByteBuffer.allocate(8 + text.length + at).order(ByteOrder.LITTLE_ENDIAN);
    all.putLong(text.length).put(text);
    tensors.values().forEach(tensor -> all.put(tensor.data()));
    try {
      Files.write(file, all.array());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Copies a fixture, as files that may be written. */
  static Path copyFixture(String fixture, Path folder) {
    try (Stream<Path> files = Files.list(Fixtures.folder(fixture))) {
      for (Path file : files.toList()) {
        Files.write(folder.resolve(file.getFileName()), Files.readAllBytes(file));
      }
      return folder;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}

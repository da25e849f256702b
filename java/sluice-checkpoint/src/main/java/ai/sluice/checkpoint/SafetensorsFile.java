package ai.sluice.checkpoint;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.checkpoint.io.PositionalFile;
import ai.sluice.checkpoint.io.Quote;
import com.google.common.collect.ImmutableMap;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Map;

/**
 * One safetensors file. {@link #open} reads and checks the header; the values stay in the file
 * until one of the {@code read} methods copies them. The file is open only while a method runs.
 *
 * <p>Every rule of the format is enforced: header at most 100,000,000 bytes and inside the file,
 * UTF-8 JSON without duplicate keys, known dtypes, sizes that do not overflow and agree with the
 * offsets, and tensors that cover the data exactly, without hole or overlap.
 */
public final class SafetensorsFile {
  private static final int CHUNK_BYTES = 1 << 20;

  private final Path path;
  private final ImmutableMap<String, String> metadata;
  private final TensorDirectory tensors;

  private SafetensorsFile(Path path, SafetensorsHeader header) {
    this.path = path;
    this.metadata = header.metadata();
    this.tensors = new TensorDirectory(path, header.tensors());
  }

  /**
   * Reads and checks the header of a file.
   *
   * @param path a regular file
   * @throws CheckpointFormatException if it cannot be read or breaks a rule of the format
   */
  public static SafetensorsFile open(Path path) {
    try (PositionalFile file = PositionalFile.open(path)) {
      return new SafetensorsFile(path, SafetensorsHeader.read(file));
    }
  }

  /** The file. */
  public Path path() {
    return path;
  }

  /** The texts that the header's {@code __metadata__} holds. */
  public Map<String, String> metadata() {
    return metadata;
  }

  /** The tensors, in the header's order. */
  public TensorDirectory tensors() {
    return tensors;
  }

  /**
   * The values of an F32 tensor, row major.
   *
   * @throws CheckpointFormatException if there is no such tensor, its dtype is another, it has more
   *     than 2^31 - 9 values, or the file changed since it was opened
   */
  public float[] readFloat32(String name) {
    TensorInfo tensor = require(name, DType.F32);
    float[] values = new float[count(tensor)];
    read(tensor, (chunk, at) -> chunk.asFloatBuffer().get(values, at / 4, chunk.remaining() / 4));
    return values;
  }

  /**
   * The values of an I64 tensor, row major.
   *
   * @throws CheckpointFormatException as {@link #readFloat32}
   */
  public long[] readInt64(String name) {
    TensorInfo tensor = require(name, DType.I64);
    long[] values = new long[count(tensor)];
    read(tensor, (chunk, at) -> chunk.asLongBuffer().get(values, at / 8, chunk.remaining() / 8));
    return values;
  }

  /**
   * The values of a U8 tensor, row major, as bytes (255 is -1).
   *
   * @throws CheckpointFormatException as {@link #readFloat32}
   */
  public byte[] readUint8(String name) {
    TensorInfo tensor = require(name, DType.U8);
    byte[] values = new byte[count(tensor)];
    read(tensor, (chunk, at) -> chunk.get(values, at, chunk.remaining()));
    return values;
  }

  private TensorInfo require(String name, DType dtype) {
    TensorInfo tensor = tensors.get(name);
    if (tensor.dtype() != dtype) {
      throw new CheckpointFormatException(
          path,
          Quote.clip(name),
          "dtype: " + tensor.dtype().label() + " (expected: " + dtype.label() + ")");
    }
    return tensor;
  }

  private int count(TensorInfo tensor) {
    // Bytes, not values, are counted in ints while copying, hence the bound on bytes.
    if (tensor.byteLength() > Integer.MAX_VALUE - 8) {
      throw new CheckpointFormatException(
          path,
          Quote.clip(tensor.name()),
          tensor.byteLength() + " bytes (expected: less than 2 GiB" + " to be read into an array)");
    }
    return (int) tensor.elements();
  }

  private interface ChunkSink {
    /** Takes a chunk of whole values that starts {@code at} bytes into the tensor. */
    void accept(ByteBuffer chunk, int at);
  }

  private void read(TensorInfo tensor, ChunkSink sink) {
    int total = (int) tensor.byteLength();
    ByteBuffer chunk =
        ByteBuffer.allocate(Math.min(total, CHUNK_BYTES)).order(ByteOrder.LITTLE_ENDIAN);
    try (PositionalFile file = PositionalFile.open(path)) {
      for (int at = 0; at < total; at += chunk.limit()) {
        chunk.clear().limit(Math.min(CHUNK_BYTES, total - at));
        file.readFully(tensor.offset() + at, chunk);
        sink.accept(chunk.flip(), at);
      }
    }
  }
}

package ai.sluice.checkpoint;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/** Writes GGUF files for tests piece by piece, so that any piece can be wrong. */
final class GgufBytes {
  static final int U8 = 0;
  static final int I8 = 1;
  static final int U32 = 4;
  static final int I32 = 5;
  static final int F32 = 6;
  static final int BOOL = 7;
  static final int STRING = 8;
  static final int ARRAY = 9;
  static final int U64 = 10;

  private final ByteArrayOutputStream keys = new ByteArrayOutputStream();
  private final ByteArrayOutputStream tensors = new ByteArrayOutputStream();
  private final ByteArrayOutputStream data = new ByteArrayOutputStream();
  private long keyCount;
  private long tensorCount;

  static byte[] u32(long value) {
    return ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt((int) value).array();
  }

  static byte[] u64(long value) {
    return ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(value).array();
  }

  static byte[] f32(float value) {
    return u32(Float.floatToIntBits(value));
  }

  static byte[] text(String value) {
    byte[] bytes = value.getBytes(StandardCharsets.UTF_8);
    return join(u64(bytes.length), bytes);
  }

  static byte[] texts(String... values) {
    byte[] all = join(u32(STRING), u64(values.length));
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.writeBytes(all);
    for (String value : values) {
      out.writeBytes(text(value));
    }
    return out.toByteArray();
  }

  static byte[] join(byte[]... parts) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (byte[] part : parts) {
      out.writeBytes(part);
    }
    return out.toByteArray();
  }

  /** Adds a key with raw type and value. */
  GgufBytes key(String name, long type, byte[] value) {
    return rawKey(text(name), type, value);
  }

  GgufBytes rawKey(byte[] name, long type, byte[] value) {
    keys.writeBytes(join(name, u32(type), value));
    keyCount++;
    return this;
  }

  GgufBytes key(String name, String value) {
    return key(name, STRING, text(value));
  }

  GgufBytes key(String name, int value) {
    return key(name, U32, u32(value));
  }

  GgufBytes key(String name, float value) {
    return key(name, F32, f32(value));
  }

  GgufBytes key(String name, boolean value) {
    return key(name, BOOL, new byte[] {(byte) (value ? 1 : 0)});
  }

  GgufBytes key(String name, String[] values) {
    return key(name, ARRAY, texts(values));
  }

  /** Adds a tensor header with raw fields; {@code dims} innermost first, as in the file. */
  GgufBytes rawTensor(byte[] name, long rank, long[] dims, long type, long offset) {
    tensors.writeBytes(join(name, u32(rank)));
    for (long dim : dims) {
      tensors.writeBytes(u64(dim));
    }
    tensors.writeBytes(join(u32(type), u64(offset)));
    tensorCount++;
    return this;
  }

  GgufBytes tensor(String name, long type, long offset, long... dims) {
    return rawTensor(text(name), dims.length, dims, type, offset);
  }

  /** Adds a tensor of zeros after the ones before; {@code shape} outermost first. */
  GgufBytes add(String name, DType dtype, long type, long... shape) {
    long elements = 1;
    long[] dims = new long[shape.length];
    for (int i = 0; i < shape.length; i++) {
      elements *= shape[i];
      dims[shape.length - 1 - i] = shape[i];
    }
    tensor(name, type, data.size(), dims);
    return data(new byte[(int) dtype.byteLength(elements)]).pad(32);
  }

  /** Adds an F32 tensor of these values. */
  GgufBytes addValues(String name, float... values) {
    tensor(name, 0, data.size(), values.length);
    for (float value : values) {
      data(f32(value));
    }
    return pad(32);
  }

  GgufBytes data(byte[] bytes) {
    data.writeBytes(bytes);
    return this;
  }

  GgufBytes pad(int alignment) {
    while (data.size() % alignment != 0) {
      data.write(0);
    }
    return this;
  }

  byte[] header() {
    return header("GGUF", 3, tensorCount, keyCount);
  }

  byte[] header(String magic, long version, long claimedTensors, long claimedKeys) {
    return join(
        magic.getBytes(StandardCharsets.US_ASCII),
        u32(version),
        u64(claimedTensors),
        u64(claimedKeys),
        keys.toByteArray(),
        tensors.toByteArray());
  }

  byte[] bytes() {
    return bytes(header(), 32);
  }

  byte[] bytes(byte[] header, int alignment) {
    int padding = (alignment - header.length % alignment) % alignment;
    return join(header, new byte[padding], data.toByteArray());
  }
}

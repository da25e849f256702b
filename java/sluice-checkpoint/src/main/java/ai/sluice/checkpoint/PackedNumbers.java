package ai.sluice.checkpoint;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** A metadata array of numbers or truth values, kept as the bytes that the file had. */
final class PackedNumbers {
  private final GgufType type;
  private final ByteBuffer bytes;

  PackedNumbers(GgufType type, byte[] bytes) {
    this.type = type;
    this.bytes = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  GgufType type() {
    return type;
  }

  int size() {
    return bytes.capacity() / type.minBytes();
  }

  /** The integer at {@code index}; unsigned 64-bit values above 2^63 - 1 come out negative. */
  long integer(int index) {
    return switch (type) {
      case UINT8, BOOL -> bytes.get(index) & 0xff;
      case INT8 -> bytes.get(index);
      case UINT16 -> bytes.getShort(2 * index) & 0xffff;
      case INT16 -> bytes.getShort(2 * index);
      case UINT32 -> bytes.getInt(4 * index) & 0xffffffffL;
      case INT32 -> bytes.getInt(4 * index);
      case UINT64, INT64 -> bytes.getLong(8 * index);
      default -> throw new IllegalStateException(type + " holds no integers");
    };
  }

  /** The floating-point number at {@code index}. */
  double floating(int index) {
    return type == GgufType.FLOAT32 ? bytes.getFloat(4 * index) : bytes.getDouble(8 * index);
  }
}

package ai.sluice.checkpoint;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.checkpoint.io.PositionalFile;
import ai.sluice.checkpoint.io.Quote;
import com.google.common.base.Utf8;
import com.google.common.primitives.UnsignedLong;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Reads the header of a GGUF file from its start, little-endian, through a small buffer. Every
 * length is checked against what is left of the file, and of the header's cap, before a byte is
 * allocated for it.
 */
final class GgufReader {
  static final long MAX_HEADER_BYTES = 100_000_000;
  private static final int BUFFER_BYTES = 256 << 10;

  private final PositionalFile file;
  private final long limit;
  private final ByteBuffer buffer;
  private long bufferStart;
  private @Nullable String item;

  GgufReader(PositionalFile file) {
    this.file = file;
    this.limit = Math.min(file.size(), MAX_HEADER_BYTES);
    this.buffer =
        ByteBuffer.allocate((int) Math.min(limit, BUFFER_BYTES)).order(ByteOrder.LITTLE_ENDIAN);
    this.buffer.limit(0);
  }

  /** The key or tensor that messages name from now on; null for the file as a whole. */
  void at(@Nullable String newItem) {
    item = newItem;
  }

  /** Absolute position of the next byte. */
  long position() {
    return bufferStart + buffer.position();
  }

  /** Bytes that may still be read. */
  long remaining() {
    return limit - position();
  }

  int readUint8() {
    return need(1).get() & 0xff;
  }

  long readUint32() {
    return need(4).getInt() & 0xffffffffL;
  }

  long readInt64() {
    return need(8).getLong();
  }

  /** A count or length, which the file stores unsigned, at most {@code max}. */
  long readCount(String what, long max) {
    long count = readInt64();
    if (count < 0 || count > max) {
      throw bad(
          what + ": " + UnsignedLong.fromLongBits(count) + " (expected: at most " + max + ")");
    }
    return count;
  }

  /** A text of at most {@code maxBytes} bytes in UTF-8. */
  String readString(String what, long maxBytes) {
    byte[] bytes = readBytes(readLength(what, maxBytes));
    if (!Utf8.isWellFormed(bytes)) {
      throw bad(what + " is not UTF-8");
    }
    return new String(bytes, StandardCharsets.UTF_8);
  }

  /** {@code length} bytes; the caller has checked the length against {@link #remaining}. */
  byte[] readBytes(int length) {
    requireRemaining(length);
    byte[] bytes = new byte[length];
    int done = Math.min(length, buffer.remaining());
    buffer.get(bytes, 0, done);
    if (done < length) {
      long at = position();
      file.readFully(at, ByteBuffer.wrap(bytes, done, length - done));
      bufferStart = at + (length - done);
      buffer.clear().limit(0);
    }
    return bytes;
  }

  /** An array of {@code count} texts, packed. */
  PackedStrings readStrings(Path path, String key, int count) {
    // Each text takes at least its length field: a count that passes is backed by the file's size.
    requireRemaining(8L * count);
    int[] ends = new int[count];
    byte[] texts = new byte[(int) Math.min(1 << 16, 16L * count)];
    int size = 0;
    for (int i = 0; i < count; i++) {
      int length = readLength("length of a text", remaining());
      if (length > texts.length - size) {
        texts = Arrays.copyOf(texts, grow(texts.length, size + length));
      }
      int done = 0;
      while (done < length) {
        int part = Math.min(length - done, BUFFER_BYTES / 2);
        need(part).get(texts, size + done, part);
        done += part;
      }
      size += length;
      ends[i] = size;
    }
    return new PackedStrings(path, key, Arrays.copyOf(texts, size), ends);
  }

  private int grow(int capacity, int needed) {
    // Never more than the header can still fill.
    return (int) Math.min(MAX_HEADER_BYTES, Math.max(needed, 2L * capacity));
  }

  private int readLength(String what, long maxBytes) {
    long length = readCount(what, maxBytes);
    requireRemaining(length);
    return (int) length;
  }

  private ByteBuffer need(int count) {
    if (buffer.remaining() < count) {
      requireRemaining(count);
      long at = position();
      buffer.clear().limit((int) Math.min(buffer.capacity(), limit - at));
      file.readFully(at, buffer);
      buffer.flip();
      bufferStart = at;
    }
    return buffer;
  }

  private void requireRemaining(long count) {
    if (count > remaining()) {
      throw bad(
          "needs "
              + count
              + " bytes at byte "
              + position()
              + " (expected: at most "
              + remaining()
              + ", "
              + (limit == file.size()
                  ? "what is left of the file; it may be truncated"
                  : "what is left of the header's " + MAX_HEADER_BYTES)
              + ")");
    }
  }

  CheckpointFormatException bad(String problem) {
    return new CheckpointFormatException(
        file.path(), item == null ? null : Quote.clip(item), problem);
  }
}

package ai.sluice.core.scheduler;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.DigestException;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.List;

/** Computes block keys with one reused digest. Not thread-safe. */
final class PrefixHasher {
  // What starts a hashed message keeps roots and blocks apart.
  private static final byte ROOT = 0;
  private static final byte BLOCK = 1;
  private static final int KEY_BYTES = 32;

  private final MessageDigest digest;
  private final byte[] result = new byte[KEY_BYTES];
  private final ByteBuffer key = ByteBuffer.wrap(result);
  private ByteBuffer input = ByteBuffer.allocate(256);

  PrefixHasher() {
    try {
      digest = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("SHA-256: absent (every Java platform has it)", e);
    }
  }

  /**
   * The key before the first block.
   *
   * @param salt only sequences of the same salt share blocks
   * @param ropes frequencies of the sequence's own, which its keys are rotated by
   */
  BlockKey root(String salt, List<RopeFrequencies> ropes) {
    byte[] text = salt.getBytes(StandardCharsets.UTF_8);
    int bytes = 1 + 4 + text.length;
    for (RopeFrequencies rope : ropes) {
      bytes += 4 + 4 + 8 + 8 * rope.invFreq().length;
    }
    begin(bytes, ROOT).putInt(text.length).put(text);
    for (RopeFrequencies rope : ropes) {
      input.putInt(rope.rope()).putInt(rope.invFreq().length).putDouble(rope.attentionScale());
      for (double frequency : rope.invFreq()) {
        input.putDouble(frequency);
      }
    }
    return end();
  }

  /** The key of the block that holds {@code tokens[begin, begin + length)} after another one. */
  BlockKey next(BlockKey previous, int[] tokens, int begin, int length) {
    begin(1 + KEY_BYTES + 4 * length, BLOCK)
        .putLong(previous.a())
        .putLong(previous.b())
        .putLong(previous.c())
        .putLong(previous.d());
    for (int i = begin; i < begin + length; i++) {
      input.putInt(tokens[i]);
    }
    return end();
  }

  private ByteBuffer begin(int bytes, byte kind) {
    if (input.capacity() < bytes) {
      input = ByteBuffer.allocate(bytes);
    }
    return input.clear().put(kind);
  }

  private BlockKey end() {
    try {
      digest.update(input.flip());
      digest.digest(result, 0, KEY_BYTES);
    } catch (DigestException e) {
      throw new IllegalStateException("SHA-256: more than " + KEY_BYTES + " bytes", e);
    }
    return new BlockKey(key.getLong(0), key.getLong(8), key.getLong(16), key.getLong(24));
  }
}

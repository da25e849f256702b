package ai.sluice.text.grammar;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** Tokens of a vocabulary: a list of a few, or a bit for each. Immutable but for its users. */
final class TokenSet {
  private static final VarHandle LONGS =
      MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

  /** A list longer than this is slower to write than all bits. */
  private static final int MAX_FEW = 128;

  private static final int[] NONE = {};

  private final int[] few;
  private final byte @Nullable [] bits;
  private final int hash;

  /** Places and states that hold it; whoever counts them guards it. */
  int users;

  private TokenSet(int[] few, byte @Nullable [] bits, int hash) {
    this.few = few;
    this.bits = bits;
    this.hash = hash;
  }

  /** The tokens whose bits are set: bit {@code v % 64} of word {@code v / 64} for token v. */
  static TokenSet of(long[] words) {
    int count = 0;
    for (long word : words) {
      count += Long.bitCount(word);
    }
    int hash = Arrays.hashCode(words);
    if (count <= MAX_FEW && count * 4 <= words.length * 8) {
      int[] few = count == 0 ? NONE : new int[count];
      int next = 0;
      for (int w = 0; w < words.length; w++) {
        for (long rest = words[w]; rest != 0; rest &= rest - 1) {
          few[next++] = w * 64 + Long.numberOfTrailingZeros(rest);
        }
      }
      return new TokenSet(few, null, hash);
    }
    byte[] bits = new byte[8 * words.length];
    for (int w = 0; w < words.length; w++) {
      LONGS.set(bits, 8 * w, words[w]);
    }
    return new TokenSet(NONE, bits, hash);
  }

  /** Sets the bits of these tokens. */
  void addTo(long[] words) {
    if (bits == null) {
      for (int token : few) {
        words[token >> 6] |= 1L << token;
      }
    } else {
      for (int w = 0; w < words.length; w++) {
        words[w] |= (long) LONGS.get(bits, 8 * w);
      }
    }
  }

  /**
   * Writes a bit for each token, little endian.
   *
   * @param zeros as many bytes as are written
   */
  void write(ByteBuffer out, int offset, byte[] zeros) {
    if (bits != null) {
      out.put(offset, bits, 0, zeros.length);
      return;
    }
    out.put(offset, zeros);
    for (int token : few) {
      int at = offset + (token >> 3);
      out.put(at, (byte) (out.get(at) | 1 << (token & 7)));
    }
  }

  /** Heap that it takes. */
  int bytes() {
    return 64 + 4 * few.length + (bits == null ? 0 : bits.length);
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof TokenSet set
        && hash == set.hash
        && Arrays.equals(few, set.few)
        && Arrays.equals(bits, set.bits);
  }

  @Override
  public int hashCode() {
    return hash;
  }
}

package ai.sluice.eval;

import java.util.HashSet;
import java.util.Set;

/**
 * Python's {@code random.Random} as far as few-shot examples are drawn by it: the Mersenne Twister
 * MT19937 (Matsumoto and Nishimura 1998) seeded by an array of one word, and {@code sample} over a
 * large population. Not thread-safe.
 */
public final class PythonRandom {
  private static final int SIZE = 624;
  private static final int SHIFT = 397;
  private static final int UPPER = 0x80000000;
  private static final int MATRIX = 0x9908b0df;

  private final int[] state = new int[SIZE];
  private int next = SIZE;

  /**
   * Creates the generator that {@code random.Random(seed)} is.
   *
   * @param seed not negative
   */
  public PythonRandom(int seed) {
    if (seed < 0) {
      throw new IllegalArgumentException("seed: " + seed + " (expected: at least 0)");
    }
    state[0] = 19650218;
    for (int i = 1; i < SIZE; i++) {
      state[i] = 1812433253 * mixed(i) + i;
    }
    int at = 1;
    for (int k = 0; k < SIZE; k++) {
      state[at] = (state[at] ^ mixed(at) * 1664525) + seed;
      at = following(at);
    }
    for (int k = 0; k < SIZE - 1; k++) {
      state[at] = (state[at] ^ mixed(at) * 1566083941) - at;
      at = following(at);
    }
    state[0] = UPPER;
  }

  private int mixed(int i) {
    int before = state[i - 1];
    return before ^ before >>> 30;
  }

  private int following(int i) {
    if (i + 1 < SIZE) {
      return i + 1;
    }
    state[0] = state[SIZE - 1];
    return 1;
  }

  /** The next 32 random bits. */
  public int next32() {
    if (next == SIZE) {
      for (int i = 0; i < SIZE; i++) {
        int y = state[i] & UPPER | state[(i + 1) % SIZE] & ~UPPER;
        state[i] = state[(i + SHIFT) % SIZE] ^ y >>> 1 ^ ((y & 1) == 0 ? 0 : MATRIX);
      }
      next = 0;
    }
    int y = state[next++];
    y ^= y >>> 11;
    y ^= y << 7 & 0x9d2c5680;
    y ^= y << 15 & 0xefc60000;
    return y ^ y >>> 18;
  }

  /**
   * Different indices of a population, as {@code sample(range(population), count)} draws them where
   * Python keeps a set of those drawn: where the population is larger than 21, and for more than
   * five of them larger than {@code 21 + 4 ** ceil(log(3 * count, 4))}.
   *
   * @param population how many there are
   * @param count how many to draw
   * @throws IllegalArgumentException where Python would draw in another way
   */
  public int[] sample(int population, int count) {
    long size = 21;
    if (count > 5) {
      long power = 1;
      while (power < 3L * count) {
        power *= 4;
      }
      size += power;
    }
    if (count < 0 || population <= size) {
      throw new IllegalArgumentException(
          "sample of " + count + " of " + population + " (expected: a population above " + size
              + ")");
    }
    int bits = 32 - Integer.numberOfLeadingZeros(population);
    Set<Integer> drawn = new HashSet<>();
    int[] out = new int[count];
    for (int i = 0; i < count; i++) {
      int one;
      do {
        one = next32() >>> 32 - bits;
      } while (one >= population || !drawn.add(one));
      out[i] = one;
    }
    return out;
  }
}

package ai.sluice.core.scheduler;

/**
 * A model that is a hash of all tokens before: what {@link FakeEngine} computes over its KV slots,
 * and what a test expects of a sequence that runs alone.
 */
final class FakeModel {
  static final int VOCAB = 50;
  static final int MASK_WORDS = (VOCAB + 31) / 32;
  /** A mask that allows every token: bit {@code v} stands for token {@code v}. */
  static final long ANY = (1L << VOCAB) - 1;

  static final int EOS = 0;
  /** The head that gives values, and how many. */
  static final int VALUES_HEAD = 1;

  static final int HEAD_VALUES = 3;

  /** Layers and experts of the model; {@link #expert} says who computes a token. */
  static final int LAYERS = 3;

  static final int EXPERTS = 4;

  /** What no mask or bias leaves a choice of. */
  static final int NOTHING_ALLOWED = -1;

  private static final long PRIME = 1099511628211L;

  private FakeModel() {}

  /** What comes before position 0, under the frequencies of a sequence. */
  static long start(double frequency) {
    return 1469598103934665603L ^ Double.doubleToLongBits(frequency);
  }

  /** What a KV slot holds of the tokens up to its own, of which the last is {@code token}. */
  static long chain(long before, int token) {
    return mix((before ^ token) * PRIME);
  }

  /** The chain over the first {@code length} tokens. */
  static long chain(int[] tokens, int length, double frequency) {
    long hash = start(frequency);
    for (int i = 0; i < length; i++) {
      hash = chain(hash, tokens[i]);
    }
    return hash;
  }

  private static long mix(long value) {
    long hash = (value ^ value >>> 29) * 0xBF58476D1CE4E5B9L;
    return hash ^ hash >>> 32;
  }

  /** What a token adds to the counts of a sequence. */
  static long counted(int token) {
    return mix((token + 1) * PRIME);
  }

  /**
   * What the model says after these tokens.
   *
   * @param chain over all tokens before
   * @param last of them
   * @param position of the token to be chosen
   * @param promptCounts sum of {@link #counted} over what penalties know of the prompt
   * @param outputCounts the same of the output
   * @param bias any number that stands for the logit biases
   * @param mask the tokens that are allowed
   * @param repetitive whether it mostly says again what it said after the same token
   * @return a token, or {@link #NOTHING_ALLOWED}
   */
  static int next(
      long chain, int last, long position, long seed, float temperature, long promptCounts,
      long outputCounts, int bias, long mask, boolean repetitive) {
    long hash = (chain ^ (temperature > 0 ? seed + position : 0)) * PRIME;
    hash = mix((hash ^ promptCounts) * PRIME);
    hash = mix((hash ^ outputCounts) * PRIME);
    hash = mix((hash ^ bias) * PRIME) >>> 17;
    long allowed = mask & ANY;
    if (allowed == 0) {
      return NOTHING_ALLOWED;
    }
    if (repetitive && hash % 8 < 7) {
      int again = 1 + (last * 3 + 1) % 11;
      if ((allowed >>> again & 1) != 0) {
        return again;
      }
    }
    for (int skip = (int) (hash / 8 % Long.bitCount(allowed)); skip > 0; skip--) {
      allowed &= allowed - 1;
    }
    return Long.numberOfTrailingZeros(allowed);
  }

  /** The log-probability of a token after the tokens of a chain. */
  static float logprob(long chain, int token) {
    return -(mix(chain ^ counted(token)) & 0xFFFF) / 4096f;
  }

  /** How many tokens are likelier. */
  static int rank(long chain, int token) {
    return (int) (mix(chain + counted(token)) >>> 40) % VOCAB;
  }

  /** Whether the logits after the tokens of a chain are finite; one in so many is not, 0: none. */
  static boolean isFinite(long chain, int oneIn) {
    return oneIn == 0 || (chain >>> 13) % oneIn != 0;
  }

  /** The expert of a token; layer 1 has none. */
  static int expert(int token, int layer) {
    return layer == 1 ? -1 : (token + layer) % EXPERTS;
  }

  /** Value {@code k} of the head that gives values, after the tokens of a chain. */
  static float value(long chain, int k) {
    return chain % 1000 + k;
  }
}

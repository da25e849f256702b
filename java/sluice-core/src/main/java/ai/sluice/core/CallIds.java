package ai.sluice.core;

/**
 * Ids of tool calls: nine letters and digits, which every chat template takes. The same request
 * with the same seed gives the same ids; the turns of one conversation give different ones.
 */
final class CallIds {
  private static final String LETTERS =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  private static final int LENGTH = 9;

  private CallIds() {}

  /**
   * The id of a call.
   *
   * @param seed of the alternative
   * @param promptTokens length of the prompt, which grows from turn to turn
   * @param call which call of the alternative it is
   */
  static String of(long seed, int promptTokens, int call) {
    long bits = mix(mix(mix(seed) + promptTokens) + call);
    StringBuilder id = new StringBuilder(LENGTH);
    for (int i = 0; i < LENGTH; i++) {
      id.append(LETTERS.charAt((int) Long.remainderUnsigned(bits, LETTERS.length())));
      bits = Long.divideUnsigned(bits, LETTERS.length());
    }
    return id.toString();
  }

  /** The finalizer of SplitMix64 after one step of its sequence. */
  private static long mix(long value) {
    long z = value + 0x9E3779B97F4A7C15L;
    z = (z ^ z >>> 30) * 0xBF58476D1CE4E5B9L;
    z = (z ^ z >>> 27) * 0x94D049BB133111EBL;
    return z ^ z >>> 31;
  }
}

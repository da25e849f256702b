package ai.sluice.openai.batch;

/**
 * A line of the input.
 *
 * @param number from 1
 * @param bytes without the line end; empty when the line is too long to be kept
 * @param length bytes of the line
 * @param hash of the bytes; never 0
 * @param end bytes of the file up to and with this line
 */
record InputLine(long number, byte[] bytes, long length, long hash, long end) {
  /** Bytes that a line may have. */
  static final int MAX_LENGTH = 64 << 20;

  boolean isTooLong() {
    return length > MAX_LENGTH;
  }
}

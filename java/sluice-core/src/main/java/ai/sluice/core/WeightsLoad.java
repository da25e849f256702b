package ai.sluice.core;

import java.util.Locale;

/**
 * How long a model's weights took to be in the engine's memory, derived ones included.
 *
 * @param weightBytes what they take there
 * @param fileBytes what was read from files; 0 for random weights
 * @param micros wall clock
 */
public record WeightsLoad(long weightBytes, long fileBytes, long micros) {
  private static final double BYTES_PER_MICRO_OF_A_GIGABYTE_PER_SECOND = 1e3;
  private static final double MICROS_PER_SECOND = 1e6;
  private static final double GIGABYTE = 1e9;

  /** GB/s (10^9 bytes) of what was read or, where nothing was, of what was made. */
  public double gigabytesPerSecond() {
    return bytes() / BYTES_PER_MICRO_OF_A_GIGABYTE_PER_SECOND / Math.max(1, micros);
  }

  private double bytes() {
    return fileBytes == 0 ? weightBytes : fileBytes;
  }

  /** For example {@code 31.42 GB read in 6.10 s, 5.15 GB/s}. */
  @Override
  public String toString() {
    return String.format(
        Locale.ROOT, "%.2f GB %s in %.2f s, %.2f GB/s",
        bytes() / GIGABYTE, fileBytes == 0 ? "made" : "read", micros / MICROS_PER_SECOND,
        gigabytesPerSecond());
  }
}

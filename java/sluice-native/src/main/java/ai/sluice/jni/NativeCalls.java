package ai.sluice.jni;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** Shapes that several calls of {@code sluice.h} share. */
final class NativeCalls {
  private static final int FIRST_CAPACITY = 4096;

  private NativeCalls() {}

  /** A "two-call" output. */
  @FunctionalInterface
  interface TwoCall {
    int run(byte @Nullable [] buffer, long capacity, long[] size, sluice_error error);
  }

  /** A call whose status is its only result. */
  @FunctionalInterface
  interface Call {
    int run(sluice_error error);
  }

  /**
   * Runs a call.
   *
   * @return OK, TIMEOUT or BUFFER_TOO_SMALL
   * @throws ai.sluice.api.SluiceException for every other status
   */
  static int run(Call call) {
    NativeError error = NativeError.borrow();
    try {
      int status = call.run(error.record());
      return switch (status) {
        case SluiceAbi.SLUICE_STATUS_OK,
            SluiceAbi.SLUICE_STATUS_TIMEOUT,
            SluiceAbi.SLUICE_STATUS_BUFFER_TOO_SMALL ->
            status;
        default -> throw error.toException(status);
      };
    } finally {
      error.giveBack();
      NativeLog.drain();
    }
  }

  /** Runs a two-call output until the buffer is large enough. */
  static byte[] twoCall(TwoCall call) {
    long[] size = new long[1];
    byte[] buffer = new byte[FIRST_CAPACITY];
    while (true) {
      byte[] current = buffer;
      int status = run(error -> call.run(current, current.length, size, error));
      if (status == SluiceAbi.SLUICE_STATUS_OK) {
        return Arrays.copyOf(current, Math.toIntExact(size[0]));
      }
      buffer = new byte[Math.toIntExact(size[0])];
    }
  }
}

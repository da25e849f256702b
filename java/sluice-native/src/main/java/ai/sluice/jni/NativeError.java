package ai.sluice.jni;

import ai.sluice.api.SluiceException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.bytedeco.javacpp.BytePointer;

/**
 * The memory of one {@code sluice_error}, borrowed for a call.
 *
 * <p>It is a direct buffer, which the garbage collector frees: memory that JavaCPP allocates counts
 * against a limit on the process's size, and a process that holds a model is over it.
 */
final class NativeError {
  private static final Queue<NativeError> POOL = new ConcurrentLinkedQueue<>();

  private final sluice_error error =
      new sluice_error(
          new BytePointer(
              ByteBuffer.allocateDirect(
                  org.bytedeco.javacpp.Loader.sizeof(sluice_error.class))));

  private NativeError() {}

  static NativeError borrow() {
    NativeError error = POOL.poll();
    return error != null ? error : new NativeError();
  }

  void giveBack() {
    POOL.add(this);
  }

  /** The record to pass to a call. */
  sluice_error record() {
    return error;
  }

  /** What the last call that returned {@code status} reported. */
  SluiceException toException(int status) {
    return StatusMapping.toException(
        status,
        error.text().getString(StandardCharsets.UTF_8),
        error.file().getString(StandardCharsets.UTF_8) + ":" + error.line(),
        error.needed_bytes(),
        error.free_bytes());
  }
}

package ai.sluice.jni;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.EngineClosedException;
import ai.sluice.api.EngineFailedException;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.NativeLoadException;
import ai.sluice.api.OutOfDeviceMemoryException;
import ai.sluice.api.SluiceException;
import ai.sluice.api.UnsupportedModelException;

/** From {@code sluice_status} to the exceptions of Sluice; the only place that knows both. */
final class StatusMapping {
  private StatusMapping() {}

  /**
   * The exception for a status that is a failure.
   *
   * @param status a {@code SLUICE_STATUS_*} other than OK
   * @param text value, expectation and remedy
   * @param source file and line that raised it, told for defects only
   * @param neededBytes memory needed, or -1
   * @param freeBytes memory free, or -1
   */
  static SluiceException toException(
      int status, String text, String source, long neededBytes, long freeBytes) {
    return switch (status) {
      case SluiceAbi.SLUICE_STATUS_INVALID_ARGUMENT -> new InvalidRequestException(text);
      case SluiceAbi.SLUICE_STATUS_UNSUPPORTED -> new UnsupportedModelException(text);
      case SluiceAbi.SLUICE_STATUS_OUT_OF_HOST_MEMORY,
          SluiceAbi.SLUICE_STATUS_OUT_OF_DEVICE_MEMORY ->
          new OutOfDeviceMemoryException(text, neededBytes, freeBytes);
      case SluiceAbi.SLUICE_STATUS_IO,
          SluiceAbi.SLUICE_STATUS_CORRUPT_DATA,
          SluiceAbi.SLUICE_STATUS_INCOMPLETE ->
          new CheckpointFormatException(null, null, text);
      case SluiceAbi.SLUICE_STATUS_LIBRARY_MISSING -> new NativeLoadException(text);
      case SluiceAbi.SLUICE_STATUS_ABORTED -> new EngineClosedException(text);
      case SluiceAbi.SLUICE_STATUS_DEVICE_LOST, SluiceAbi.SLUICE_STATUS_ENGINE_FAILED ->
          new EngineFailedException(text);
      // These never reach a caller unless Sluice itself is wrong.
      case SluiceAbi.SLUICE_STATUS_WRONG_STATE,
          SluiceAbi.SLUICE_STATUS_INTERNAL,
          SluiceAbi.SLUICE_STATUS_BUFFER_TOO_SMALL,
          SluiceAbi.SLUICE_STATUS_TIMEOUT ->
          new EngineFailedException(text + " (status " + status + ", " + source + ")");
      default ->
          new EngineFailedException(
              "native status: " + status + " (expected: 0 to "
                  + (SluiceAbi.SLUICE_STATUS_COUNT - 1) + "; remedy: use a libsluice.so of version "
                  + NativeLibrary.javaVersion() + "): " + text);
    };
  }
}

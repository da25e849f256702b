package ai.sluice.api;

import org.jspecify.annotations.Nullable;

/**
 * Root of every exception that Sluice throws on purpose. Unchecked and sealed, so that a {@code
 * switch} over the subclasses can be complete. The message always says the value met, the
 * expectation, and the remedy where there is one, in the form {@code head_dim: 96 (expected: 64,
 * 128 or 256)}.
 */
public abstract sealed class SluiceException extends RuntimeException
    permits InvalidRequestException,
        UnsupportedModelException,
        CheckpointFormatException,
        OutOfDeviceMemoryException,
        EngineFailedException,
        EngineClosedException,
        NativeLoadException {
  private static final long serialVersionUID = 1L;

  SluiceException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}

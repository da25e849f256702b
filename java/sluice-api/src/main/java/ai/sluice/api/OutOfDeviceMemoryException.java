package ai.sluice.api;

/**
 * The device (or, on the CPU backend, the machine) has too little memory for what was asked. The
 * message says which option to change.
 */
public final class OutOfDeviceMemoryException extends SluiceException {
  private static final long serialVersionUID = 1L;
  private final long neededBytes;
  private final long freeBytes;

  /**
   * Creates the exception.
   *
   * @param message what was being allocated and which option reduces it
   * @param neededBytes bytes needed, or -1 if unknown
   * @param freeBytes bytes free at the time, or -1 if unknown
   */
  public OutOfDeviceMemoryException(String message, long neededBytes, long freeBytes) {
    super(message, null);
    this.neededBytes = neededBytes;
    this.freeBytes = freeBytes;
  }

  /** Bytes needed, or -1 if unknown. */
  public long neededBytes() {
    return neededBytes;
  }

  /** Bytes free when the allocation failed, or -1 if unknown. */
  public long freeBytes() {
    return freeBytes;
  }
}

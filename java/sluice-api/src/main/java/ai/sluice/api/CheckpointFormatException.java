package ai.sluice.api;

import java.nio.file.Path;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A checkpoint file is damaged, incomplete or contradicts itself. The message names the file, the
 * tensor or key, what was expected and what was found.
 */
public final class CheckpointFormatException extends SluiceException {
  private static final long serialVersionUID = 1L;
  private final @Nullable String file;
  private final @Nullable String item;

  /**
   * Creates the exception; the message becomes {@code file: item: problem}.
   *
   * @param file the file at fault, or null when none is known
   * @param item the tensor name or key at fault, or null when it is the file as a whole
   * @param problem the value met, what was expected, and the remedy
   */
  public CheckpointFormatException(@Nullable Path file, @Nullable String item, String problem) {
    this(file, item, problem, null);
  }

  /**
   * Creates the exception with its cause; the message becomes {@code file: item: problem}.
   *
   * @param file the file at fault, or null when none is known
   * @param item the tensor name or key at fault, or null when it is the file as a whole
   * @param problem the value met, what was expected, and the remedy
   * @param cause the failure underneath, or null
   */
  public CheckpointFormatException(
      @Nullable Path file, @Nullable String item, String problem, @Nullable Throwable cause) {
    super(
        (file == null ? "" : file + ": ") + (item == null ? "" : item + ": ") + problem, cause);
    this.file = file == null ? null : file.toString();
    this.item = item;
  }

  /** The file at fault, if one is known. */
  public Optional<String> file() {
    return Optional.ofNullable(file);
  }

  /** The tensor name or key at fault, if it is not the file as a whole. */
  public Optional<String> item() {
    return Optional.ofNullable(item);
  }
}

package ai.sluice.checkpoint;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.checkpoint.io.Quote;
import com.google.common.base.Utf8;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.AbstractList;
import java.util.RandomAccess;

/**
 * Texts kept as the bytes that the file had, decoded when asked for. A vocabulary so costs what it
 * costs in the file, and loading it decodes nothing that nobody reads.
 */
final class PackedStrings extends AbstractList<String> implements RandomAccess {
  private final Path file;
  private final String key;
  private final byte[] bytes;
  private final int[] ends;

  /**
   * Creates a list.
   *
   * @param file the file, for messages
   * @param key the metadata key, for messages
   * @param bytes all texts one after the other, UTF-8
   * @param ends the end of each text in {@code bytes}
   */
  PackedStrings(Path file, String key, byte[] bytes, int[] ends) {
    this.file = file;
    this.key = key;
    this.bytes = bytes;
    this.ends = ends;
  }

  /**
   * The text at {@code index}.
   *
   * @throws CheckpointFormatException if it is not UTF-8
   */
  @Override
  public String get(int index) {
    int begin = index == 0 ? 0 : ends[index - 1];
    int length = ends[index] - begin;
    if (!Utf8.isWellFormed(bytes, begin, length)) {
      throw new CheckpointFormatException(
          file, Quote.clip(key), "entry " + index + " is not UTF-8");
    }
    return new String(bytes, begin, length, StandardCharsets.UTF_8);
  }

  @Override
  public int size() {
    return ends.length;
  }
}

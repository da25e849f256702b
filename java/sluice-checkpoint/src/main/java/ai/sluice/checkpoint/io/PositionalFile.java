package ai.sluice.checkpoint.io;

import ai.sluice.api.CheckpointFormatException;
import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * A regular file read at absolute positions. Never memory-mapped: a file that shrinks under a map
 * kills the process, while a short read here is an exception.
 */
public final class PositionalFile implements Closeable {
  private final Path path;
  private final FileChannel channel;
  private final long size;

  private PositionalFile(Path path, FileChannel channel, long size) {
    this.path = path;
    this.channel = channel;
    this.size = size;
  }

  /**
   * Opens a file for reading.
   *
   * @throws CheckpointFormatException if it does not exist, is no regular file or cannot be read
   */
  public static PositionalFile open(Path path) {
    requireRegularFile(path);
    try {
      FileChannel channel = FileChannel.open(path, StandardOpenOption.READ);
      try {
        return new PositionalFile(path, channel, channel.size());
      } catch (IOException e) {
        channel.close();
        throw e;
      }
    } catch (IOException e) {
      throw unreadable(path, e);
    }
  }

  /** Throws unless {@code path} is an existing regular file (opening a pipe would block). */
  public static void requireRegularFile(Path path) {
    if (!Files.exists(path)) {
      throw new CheckpointFormatException(
          path,
          null,
          Files.exists(path, LinkOption.NOFOLLOW_LINKS)
              ? "broken link (expected: a file; complete the download)"
              : "no such file");
    }
    if (!Files.isRegularFile(path)) {
      throw new CheckpointFormatException(
          path, null, Files.isDirectory(path) ? "is a folder (expected: a file)" : "not a file");
    }
  }

  public static CheckpointFormatException unreadable(Path path, IOException cause) {
    return new CheckpointFormatException(
        path,
        null,
        "cannot be read: " + cause.getClass().getSimpleName() + " " + cause.getMessage(),
        cause);
  }

  public Path path() {
    return path;
  }

  /** The file's size when it was opened, in bytes. */
  public long size() {
    return size;
  }

  /**
   * Fills {@code target} from {@code position} on.
   *
   * @throws CheckpointFormatException if the file ends before
   */
  public void readFully(long position, ByteBuffer target) {
    long at = position;
    try {
      while (target.hasRemaining()) {
        int count = channel.read(target, at);
        if (count < 0) {
          throw new CheckpointFormatException(
              path,
              null,
              "ends at byte "
                  + at
                  + " (expected: "
                  + target.remaining()
                  + " more; the file is truncated or shrank while it was read)");
        }
        at += count;
      }
    } catch (IOException e) {
      throw unreadable(path, e);
    }
  }

  /** The {@code length} bytes from {@code position} on. */
  public byte[] read(long position, int length) {
    ByteBuffer buffer = ByteBuffer.allocate(length);
    readFully(position, buffer);
    return buffer.array();
  }

  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException e) {
      throw unreadable(path, e);
    }
  }
}

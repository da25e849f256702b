package ai.sluice.openai.batch;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import org.jspecify.annotations.Nullable;

/** Reads the lines of a file one after the other; blank ones are passed over. Not thread-safe. */
final class BatchInput implements AutoCloseable {
  private static final int BUFFER_BYTES = 1 << 18;

  private final Path path;
  private final InputStream in;
  private final long size;
  private final byte[] buffer = new byte[BUFFER_BYTES];
  private final MessageDigest digest = sha256();
  private ByteArrayOutputStream line = new ByteArrayOutputStream();
  private int begin;
  private int limit;
  private long position;
  private long number;

  private BatchInput(Path path, InputStream in, long size) {
    this.path = path;
    this.in = in;
    this.size = size;
  }

  /**
   * Opens a file.
   *
   * @throws BatchException if it cannot be read
   */
  static BatchInput open(Path path) {
    try {
      if (Files.isDirectory(path)) {
        throw new BatchException(path + ": a folder (expected: a file of JSON lines)");
      }
      long size = Files.isRegularFile(path) ? Files.size(path) : -1;
      return new BatchInput(path, Files.newInputStream(path), size);
    } catch (NoSuchFileException e) {
      throw new BatchException(path + ": not found (expected: a file of JSON lines)", e);
    } catch (IOException e) {
      throw failure(path, e);
    }
  }

  static BatchException failure(Path path, IOException e) {
    String reason = e.getMessage() == null ? e.toString() : e.getMessage();
    String name = path.toString();
    return new BatchException(
        (reason.startsWith(name) ? reason : name + ": " + reason)
            + " (expected: a file that can be read; the same command goes on from here)",
        e);
  }

  /** Bytes of the file when it was opened, or -1 if it has no size. */
  long size() {
    return size;
  }

  /**
   * The next line that is not blank, or null at the end.
   *
   * @throws BatchException if the file cannot be read to its end
   */
  @Nullable InputLine next() {
    try {
      while (true) {
        InputLine next = read();
        if (next == null || next.isTooLong() || !isBlank(next.bytes())) {
          return next;
        }
      }
    } catch (IOException e) {
      throw failure(path, e);
    }
  }

  private @Nullable InputLine read() throws IOException {
    line.reset();
    long length = 0;
    boolean ended = false;
    digest.reset();
    while (!ended) {
      if (begin == limit && !fill()) {
        if (length == 0) {
          return null;
        }
        break;
      }
      int end = begin;
      while (end < limit && buffer[end] != '\n') {
        end++;
      }
      ended = end < limit;
      int count = end - begin;
      digest.update(buffer, begin, count);
      if (length + count <= InputLine.MAX_LENGTH) {
        line.write(buffer, begin, count);
      } else {
        // It keeps its room otherwise, for the rest of the run.
        line = new ByteArrayOutputStream();
      }
      length += count;
      position += count + (ended ? 1 : 0);
      begin = end + (ended ? 1 : 0);
    }
    number++;
    long hash = ByteBuffer.wrap(digest.digest()).getLong();
    return new InputLine(number, line.toByteArray(), length, hash == 0 ? 1 : hash, position);
  }

  private boolean fill() throws IOException {
    int count = in.read(buffer);
    if (count <= 0) {
      if (size >= 0 && position < size) {
        throw new IOException(
            path + ": ended at byte " + position + " of " + size
                + "; it was cut while it was read");
      }
      return false;
    }
    begin = 0;
    limit = count;
    return true;
  }

  private static boolean isBlank(byte[] bytes) {
    for (byte b : bytes) {
      if (b != ' ' && b != '\t' && b != '\r') {
        return false;
      }
    }
    return true;
  }

  static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }

  @Override
  public void close() {
    try {
      in.close();
    } catch (IOException e) {
      throw failure(path, e);
    }
  }
}

package ai.sluice.openai.batch;

import ai.sluice.api.InvalidRequestException;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * The file of answers. A line is written whole or, when the process dies meanwhile, cut off at the
 * next start. Opening reads what there is. Not thread-safe; locked against other processes.
 */
final class BatchOutput implements AutoCloseable {
  private static final int BUFFER_BYTES = 1 << 18;

  /** An id is within this many bytes of a line's beginning. */
  private static final int HEAD_BYTES = 128;

  private static final long SYNC_NANOS = 1_000_000_000;

  private final Path path;
  // Not through its channel, which an interrupt would close in the middle of a line.
  private final RandomAccessFile file;
  private final DoneLines done = new DoneLines();
  private String run = "";
  private long end;
  private long torn;
  private long syncedAt = System.nanoTime();
  private boolean dirty;

  private BatchOutput(Path path, RandomAccessFile file) {
    this.path = path;
    this.file = file;
  }

  /**
   * Opens a file, made if it is not there.
   *
   * @param restart whether what it holds is given up
   * @throws InvalidRequestException if it holds something else than answers of a batch
   * @throws BatchException if it cannot be read and written, or another process writes it
   */
  static BatchOutput open(Path path, boolean restart) {
    RandomAccessFile file = null;
    try {
      if (Files.exists(path) && !Files.isRegularFile(path)) {
        // A device or a pipe cannot say what was answered; some could be read for ever.
        throw new BatchException(
            path + ": no regular file (expected: a new file, or one that a batch left)");
      }
      file = new RandomAccessFile(path.toFile(), "rw");
      lock(path, file.getChannel());
      BatchOutput output = new BatchOutput(path, file);
      if (restart) {
        file.setLength(0);
      } else {
        output.scan();
      }
      return output;
    } catch (IOException e) {
      closeQuietly(file);
      throw failure(path, e);
    } catch (RuntimeException e) {
      closeQuietly(file);
      throw e;
    }
  }

  private static void closeQuietly(@Nullable RandomAccessFile file) {
    if (file != null) {
      try {
        file.close();
      } catch (IOException e) {
        // What led here is told.
      }
    }
  }

  private static void lock(Path path, FileChannel channel) throws IOException {
    boolean locked;
    try {
      locked = channel.tryLock() != null;
    } catch (OverlappingFileLockException e) {
      locked = false;
    }
    if (!locked) {
      throw new BatchException(
          path + ": written by another process (expected: one batch for each output)");
    }
  }

  static BatchException failure(Path path, IOException e) {
    String name = path.toString();
    String reason = e.getMessage() == null ? e.toString() : e.getMessage();
    if (reason.startsWith(name)) {
      // A file that cannot be opened: the path, then the reason in parentheses.
      reason = reason.substring(name.length()).replaceAll("^[ :(]+|\\)$", "");
    }
    return new BatchException(
        name + ": " + reason
            + " (expected: a file that can be written; every answer before is in it, and the same"
            + " command goes on from there)",
        e);
  }

  /** Reads the ids of all whole lines and cuts off what is behind the last. */
  private void scan() throws IOException {
    byte[] buffer = new byte[BUFFER_BYTES];
    byte[] head = new byte[HEAD_BYTES];
    int headLength = 0;
    long lines = 0;
    long position = 0;
    file.seek(0);
    int count;
    while ((count = file.read(buffer)) > 0) {
      for (int i = 0; i < count; i++) {
        if (buffer[i] == '\n') {
          accept(new String(head, 0, headLength, StandardCharsets.UTF_8), ++lines);
          headLength = 0;
          end = position + i + 1;
        } else if (headLength < HEAD_BYTES) {
          head[headLength++] = buffer[i];
        }
      }
      position += count;
    }
    torn = position - end;
    if (torn > 0) {
      if (lines == 0 && !"{\"id\":\"batch_req_".startsWith(start(head, headLength))) {
        throw foreign(1);
      }
      file.setLength(end);
    }
  }

  private static String start(byte[] head, int length) {
    return new String(head, 0, Math.min(length, 17), StandardCharsets.UTF_8);
  }

  private void accept(String head, long number) {
    Optional<LineId> id = LineId.ofLine(head);
    if (id.isEmpty()) {
      throw foreign(number);
    }
    LineId known = id.get();
    if (run.isEmpty()) {
      run = known.run();
    }
    if (!run.equals(known.run()) || !done.add(known.number(), known.hash())) {
      throw new InvalidRequestException(
          path + ": line " + number + " is of another run than the first line, or answers what an"
              + " earlier line answers (expected: a file as a batch left it; --restart begins"
              + " anew)");
    }
  }

  private InvalidRequestException foreign(long number) {
    return new InvalidRequestException(
        path + ": line " + number + " is no answer of a batch (expected: a new file, or the output"
            + " of this command; --restart gives up what it holds)");
  }

  /** What is answered already. */
  DoneLines done() {
    return done;
  }

  /** Bytes of an unfinished last line that were cut off. */
  long torn() {
    return torn;
  }

  /**
   * Refuses to continue what something else began.
   *
   * @param now fingerprint of this run
   */
  void requireRun(String now) {
    if (!run.isEmpty() && !run.equals(now)) {
      throw new InvalidRequestException(
          path + ": begun with another model or other options, fingerprint " + run + ", now " + now
              + " (expected: the same model, --dtype, --numerics, --seed and --timeout; or"
              + " --restart to begin anew)");
    }
  }

  /**
   * Appends a line. It is with the operating system when this returns, and on the disk a second
   * later.
   *
   * @param line with its line end
   * @throws BatchException if it cannot be written; what was written of it is cut off
   */
  void append(byte[] line) {
    try {
      file.seek(end);
      file.write(line);
      end += line.length;
      dirty = true;
    } catch (IOException e) {
      cutOff();
      throw failure(path, e);
    }
    if (System.nanoTime() - syncedAt > SYNC_NANOS) {
      sync();
    }
  }

  private void cutOff() {
    try {
      file.setLength(end);
    } catch (IOException e) {
      // The next start cuts it off; the failure to write is what is told.
    }
  }

  /** Brings what was written to the disk. */
  void sync() {
    syncedAt = System.nanoTime();
    if (dirty) {
      dirty = false;
      try {
        file.getFD().sync();
      } catch (IOException e) {
        throw failure(path, e);
      }
    }
  }

  @Override
  public void close() {
    try (RandomAccessFile closing = file) {
      if (dirty) {
        closing.getFD().sync();
      }
    } catch (IOException e) {
      throw failure(path, e);
    }
  }
}

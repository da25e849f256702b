package ai.sluice.eval.run;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** A file that only grows. Not thread-safe. */
class AppendFile implements Closeable {
  private final FileChannel channel;
  private long end;

  AppendFile(Path file) throws IOException {
    channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
    end = channel.size();
  }

  /** Appends all of it, or, where that fails, nothing as far as the file system lets it. */
  void append(byte[] bytes) throws IOException {
    ByteBuffer buffer = ByteBuffer.wrap(bytes);
    try {
      while (buffer.hasRemaining()) {
        write(channel, buffer, end + buffer.position());
      }
    } catch (IOException e) {
      try {
        channel.truncate(end);
      } catch (IOException again) {
        e.addSuppressed(again); // the reader drops a torn line
      }
      throw e;
    }
    end += bytes.length;
  }

  /** One write, which a test makes fail. */
  void write(FileChannel to, ByteBuffer bytes, long at) throws IOException {
    to.write(bytes, at);
  }

  /** Returns once everything is on the disk. */
  void sync() throws IOException {
    channel.force(false);
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}

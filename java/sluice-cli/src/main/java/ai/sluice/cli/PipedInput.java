package ai.sluice.cli;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.data.PinnedFiles;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import org.jspecify.annotations.Nullable;

/** Lines from a pipe or a file: no prompt, no terminal library, Ctrl-C ends the program. */
final class PipedInput implements ChatInput {
  private final InputStream in;
  private int line;

  PipedInput(InputStream in) {
    this.in = in instanceof java.io.BufferedInputStream ? in : new java.io.BufferedInputStream(in);
  }

  /**
   * {@inheritDoc}
   *
   * @throws InvalidRequestException if the line is not UTF-8 or endless
   */
  @Override
  public @Nullable String readLine(String prompt) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    line++;
    try {
      int b = in.read();
      if (b < 0) {
        return null;
      }
      for (; b >= 0 && b != '\n'; b = in.read()) {
        bytes.write(b);
        if (bytes.size() > Utf8.MAX_BYTES) {
          throw new InvalidRequestException(
              "standard input: line " + line + " is longer than " + Sizes.text(Utf8.MAX_BYTES)
                  + " (expected: a message that fits the model's context)");
        }
      }
    } catch (IOException e) {
      throw new CommandException("standard input: " + PinnedFiles.reason(e), e);
    }
    String text = Utf8.decode("standard input, line " + line, bytes.toByteArray());
    return text.endsWith("\r") ? text.substring(0, text.length() - 1) : text;
  }

  @Override
  public void interruptible(Runnable work, Runnable cancel) {
    work.run();
  }

  @Override
  public void close() {}
}

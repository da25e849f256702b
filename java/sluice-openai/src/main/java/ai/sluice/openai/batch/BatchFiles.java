package ai.sluice.openai.batch;

import ai.sluice.api.InvalidRequestException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * A batch's two files, opened, of which the output answers nothing but lines of the input.
 *
 * @param inputPath where the lines are
 * @param outputPath where the answers go
 * @param input at its first line
 * @param output with what it holds read
 */
record BatchFiles(Path inputPath, Path outputPath, BatchInput input, BatchOutput output)
    implements AutoCloseable {
  /** Opens both; see {@link BatchRun#open}. */
  static BatchFiles open(Path inputPath, Path outputPath, boolean restart) {
    BatchInput input = BatchInput.open(inputPath);
    BatchOutput output = null;
    try {
      requireTwoFiles(inputPath, outputPath);
      output = BatchOutput.open(outputPath, restart);
      BatchFiles files = new BatchFiles(inputPath, outputPath, input, output);
      files.requireSameInput();
      return files;
    } catch (RuntimeException e) {
      input.close();
      if (output != null) {
        output.close();
      }
      throw e;
    }
  }

  private static void requireTwoFiles(Path input, Path output) {
    try {
      if (Files.exists(output) && Files.isSameFile(input, output)) {
        throw new InvalidRequestException(
            output + ": the input itself (expected: another file for the answers)");
      }
    } catch (IOException e) {
      throw BatchInput.failure(input, e);
    }
  }

  /** Compares every line that the output answers with the input's, before anything is written. */
  private void requireSameInput() {
    DoneLines done = output.done();
    if (done.count() == 0) {
      return;
    }
    long seen = 0;
    try (BatchInput again = BatchInput.open(inputPath)) {
      InputLine line = again.next();
      while (line != null && line.number() <= done.last()) {
        long hash = done.hash(line.number());
        if (hash != 0) {
          seen++;
          if (hash != line.hash()) {
            throw otherInput("line " + line.number() + " is not the line");
          }
        }
        line = again.next();
      }
    }
    if (seen != done.count()) {
      throw otherInput("has only " + seen + " of the " + done.count() + " lines");
    }
  }

  private InvalidRequestException otherInput(String what) {
    return new InvalidRequestException(
        inputPath + ": " + what + " that " + outputPath
            + " answers (expected: the input that it was begun with, to which lines may have been"
            + " added; or --restart to begin anew)");
  }

  @Override
  public void close() {
    try (input) {
      output.close();
    }
  }
}

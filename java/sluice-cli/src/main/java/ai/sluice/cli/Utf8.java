package ai.sluice.cli;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.eval.data.PinnedFiles;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;

/** Reads text that must be UTF-8, and says where it is not. */
final class Utf8 {
  /** More than any model's context holds; a guard against an endless stream. */
  static final int MAX_BYTES = 64 << 20;

  private Utf8() {}

  /**
   * Decodes a whole text; a byte order mark at its beginning is dropped.
   *
   * @param name what the text is, for the message
   * @throws InvalidRequestException if it is not UTF-8; the message has the offset of the first
   *     wrong byte
   */
  static String decode(String name, byte[] bytes) {
    CharsetDecoder decoder = StandardCharsets.UTF_8.newDecoder();
    ByteBuffer in = ByteBuffer.wrap(bytes);
    CharBuffer out = CharBuffer.allocate(bytes.length);
    CoderResult result = decoder.decode(in, out, true);
    if (result.isError()) {
      throw new InvalidRequestException(
          String.format(
              "%s: invalid UTF-8 at byte %d, 0x%02X (expected: UTF-8 text; convert it with"
                  + " iconv -t UTF-8)",
              name, in.position(), bytes[in.position()]));
    }
    String text = out.flip().toString();
    return text.startsWith("\uFEFF") ? text.substring(1) : text;
  }

  /**
   * Reads a stream to its end.
   *
   * @throws InvalidRequestException if it is not UTF-8 or longer than {@link #MAX_BYTES}
   */
  static String read(String name, InputStream in) {
    try {
      byte[] bytes = in.readNBytes(MAX_BYTES + 1);
      if (bytes.length > MAX_BYTES) {
        throw new InvalidRequestException(
            name + ": longer than " + Sizes.text(MAX_BYTES) + " (expected: a prompt that fits the"
                + " model's context)");
      }
      return decode(name, bytes);
    } catch (IOException e) {
      throw new CommandException(name + ": " + PinnedFiles.reason(e), e);
    }
  }

  /**
   * Reads a file.
   *
   * @throws InvalidRequestException if there is none, or as {@link #read}
   */
  static String readFile(String option, String file) {
    Path path;
    try {
      path = Path.of(file);
    } catch (InvalidPathException e) {
      throw new InvalidRequestException(option + ": " + file + " (expected: a file's path)", e);
    }
    if (!Files.isReadable(path) || Files.isDirectory(path)) {
      throw new InvalidRequestException(
          option + ": " + file + (Files.exists(path) ? " cannot be read" : " does not exist")
              + " (expected: a readable text file)");
    }
    try (InputStream in = Files.newInputStream(path)) {
      return read(option + " " + file, in);
    } catch (IOException e) {
      throw new CommandException(option + " " + file + ": " + PinnedFiles.reason(e), e);
    }
  }
}

package ai.sluice.core;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/**
 * Gives a fixture a tokenizer: ids 0 to 9 are special tokens, 10 + b is the byte b, what is left
 * has no text. So random models speak random bytes, most of them no whole characters.
 */
final class ByteTokenizer {
  static final int FIRST_BYTE = 10;

  private ByteTokenizer() {}

  /** Copies a fixture into a folder and adds a tokenizer.json and a chat template. */
  static Path copyWithTokenizer(String fixture, Path folder, String template) {
    try (Stream<Path> files = Files.list(Fixtures.folder(fixture))) {
      for (Path file : files.toList()) {
        Files.copy(file, folder.resolve(file.getFileName()));
      }
      Files.writeString(folder.resolve("tokenizer.json"), json());
      Files.writeString(folder.resolve("chat_template.jinja"), template);
      return folder;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static String json() {
    StringBuilder special = new StringBuilder();
    StringBuilder vocabulary = new StringBuilder();
    for (int id = 0; id < FIRST_BYTE; id++) {
      special.append(id == 0 ? "" : ",").append("{\"id\":").append(id)
          .append(",\"content\":\"<|").append(id).append("|>\",\"single_word\":false,")
          .append("\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true}");
      // Added tokens that the model lacks would be numbered anew, from the vocabulary's size on.
      vocabulary.append("\"<|").append(id).append("|>\":").append(id).append(',');
    }
    for (int b = 0; b < 256; b++) {
      String text = String.valueOf((char) letterOf(b));
      vocabulary.append(b == 0 ? "" : ",").append('"')
          .append(text.equals("\"") || text.equals("\\") ? "\\" + text : text)
          .append("\":").append(FIRST_BYTE + b);
    }
    return "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[" + special
        + "],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":"
        + "false,\"trim_offsets\":true,\"use_regex\":false},\"post_processor\":null,\"decoder\":"
        + "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,"
        + "\"use_regex\":true},\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
        + "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":false,"
        + "\"byte_fallback\":false,\"vocab\":{" + vocabulary + "},\"merges\":[]}}";
  }

  /** The alphabet of byte-level BPE: printable bytes stand for themselves, others from 256 on. */
  private static int letterOf(int b) {
    int next = 256;
    for (int i = 0; i <= b; i++) {
      boolean printable = i >= '!' && i <= '~' || i >= 0xA1 && i <= 0xAC || i >= 0xAE;
      if (i == b) {
        return printable ? i : next;
      }
      next += printable ? 0 : 1;
    }
    throw new IllegalArgumentException(String.valueOf(b));
  }
}

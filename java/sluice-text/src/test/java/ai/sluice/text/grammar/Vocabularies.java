package ai.sluice.text.grammar;

import ai.sluice.text.GgufVocabulary;
import ai.sluice.text.Tokenizer;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.zip.GZIPInputStream;

/** Vocabularies of several kinds. */
enum Vocabularies {
  /** One token for each byte. */
  BYTES,
  /** Bytes, and pieces that join the parts of JSON in odd ways or split characters. */
  MADE_UP,
  BYTE_LEVEL,
  SENTENCE_PIECE,
  /** 49,152 tokens of a real model. */
  SMOLLM2;

  private TokenTable table;

  synchronized TokenTable table() {
    if (table == null) {
      table = make();
    }
    return table;
  }

  /** A token without text, to end with. */
  int stop() {
    for (int token = 0; token < table().vocabSize(); token++) {
      if (table().length(token) == 0) {
        return token;
      }
    }
    throw new IllegalStateException("no token without text");
  }

  private TokenTable make() {
    return switch (this) {
      case BYTES -> TokenTable.of(bytes(List.of()));
      case MADE_UP -> TokenTable.of(bytes(madeUp()));
      case BYTE_LEVEL -> ofTokenizer("small/bytelevel.json");
      case SENTENCE_PIECE -> ofTokenizer("small/sentencepiece.json");
      case SMOLLM2 -> {
        Path file = golden("smollm2_vocab.json.gz");
        try (InputStream in = new GZIPInputStream(Files.newInputStream(file))) {
          Map<String, Object> metadata =
              new ObjectMapper().readValue(in, new TypeReference<Map<String, Object>>() {});
          try (Tokenizer tokenizer = Tokenizer.fromGguf(GgufVocabulary.fromMetadata(metadata))) {
            yield TokenTable.of(tokenizer, tokenizer.vocabSize());
          }
        } catch (IOException e) {
          throw new UncheckedIOException(e);
        }
      }
    };
  }

  private static TokenTable ofTokenizer(String name) {
    try (Tokenizer tokenizer = Tokenizer.fromFile(golden(name))) {
      // Models pad their vocabularies.
      return TokenTable.of(tokenizer, tokenizer.vocabSize() + 37);
    }
  }

  static Path golden(String name) {
    Path folder = Path.of("").toAbsolutePath();
    while (!Files.isDirectory(folder.resolve("tests/golden"))) {
      folder = folder.getParent();
    }
    return folder.resolve("tests/golden/tokenizers").resolve(name);
  }

  /** Tokens of one byte, then these, then one without text. */
  static byte[][] bytes(List<byte[]> others) {
    byte[][] tokens = new byte[256 + others.size() + 1][];
    for (int b = 0; b < 256; b++) {
      tokens[b] = new byte[] {(byte) b};
    }
    for (int i = 0; i < others.size(); i++) {
      tokens[256 + i] = others.get(i);
    }
    tokens[tokens.length - 1] = new byte[0];
    return tokens;
  }

  private static List<byte[]> madeUp() {
    String[] parts = {
      "{", "}", "[", "]", "\"", ":", ",", " ", "\\", "\\u", "00", "e9", "d83d", "true", "false",
      "null", "-", "0", "1", "12", "9.5", "e+", "name", "a", "b", "id", "é", "漢", "😀", "T", "Z",
      "-01", "2024", "@", ".", "::", "value", "\n", "\t", "{\"", "\":", "\",", "\"}", "\"]", "}]"
    };
    Random random = new Random(7);
    List<byte[]> tokens = new ArrayList<>();
    for (int i = 0; i < 700; i++) {
      StringBuilder text = new StringBuilder();
      for (int n = 1 + random.nextInt(4); n > 0; n--) {
        text.append(parts[random.nextInt(parts.length)]);
      }
      byte[] bytes = text.toString().getBytes(StandardCharsets.UTF_8);
      // A cut anywhere: also within a character.
      int from = random.nextInt(4) == 0 ? random.nextInt(bytes.length) : 0;
      int left = bytes.length - from;
      int to = random.nextInt(4) == 0 ? from + 1 + random.nextInt(left) : bytes.length;
      tokens.add(Arrays.copyOfRange(bytes, from, to));
    }
    return tokens;
  }
}

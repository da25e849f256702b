package ai.sluice.text;

import ai.sluice.api.UnsupportedModelException;
import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * How the text of tokens becomes the text of a document: the {@code decoder} of a tokenizer.json.
 * Stateless and thread-safe; the state of a document in progress lies in {@link StreamingDecoder}.
 */
sealed interface TokenDecoder permits TokenDecoder.ByteLevel, TokenDecoder.Pieces {

  /**
   * Feeds one token.
   *
   * @param token its text in the vocabulary
   * @param first whether it is the first token of the document
   * @param out takes the bytes
   */
  void feed(String token, boolean first, Utf8Decoder out);

  /** How many spaces at the start of the whole document are dropped. */
  int leadingSpacesDropped();

  /** The bytes that a token adds to a text in progress: UTF-8, possibly part of a character. */
  byte[] bytes(String token);

  /**
   * Reads the decoder of a tokenizer.json.
   *
   * @param decoder the JSON object, or null where the file has none
   * @throws UnsupportedModelException for a decoder of another kind, by its name
   */
  static TokenDecoder fromJson(@Nullable JsonNode decoder) {
    if (decoder == null || !decoder.isObject()) {
      throw unsupported("null");
    }
    List<JsonNode> steps = new ArrayList<>();
    String type = decoder.path("type").asText();
    if (type.equals("Sequence")) {
      decoder.path("decoders").forEach(steps::add);
    } else {
      steps.add(decoder);
    }
    if (steps.size() == 1 && steps.get(0).path("type").asText().equals("ByteLevel")) {
      return new ByteLevel();
    }
    return pieces(steps);
  }

  private static Pieces pieces(List<JsonNode> steps) {
    String from = "";
    String to = "";
    boolean byteFallback = false;
    boolean fused = false;
    boolean dropFirst = false;
    int strip = 0;
    for (JsonNode step : steps) {
      String type = step.path("type").asText();
      switch (type) {
        case "Replace" -> {
          JsonNode pattern = step.path("pattern").path("String");
          if (!pattern.isTextual() || !from.isEmpty()) {
            throw unsupported("Replace with " + step.path("pattern"));
          }
          from = pattern.asText();
          to = step.path("content").asText();
        }
        case "Metaspace" -> {
          from = step.path("replacement").asText("▁");
          to = " ";
          dropFirst =
              step.has("prepend_scheme")
                  ? !step.path("prepend_scheme").asText().equals("never")
                  : step.path("add_prefix_space").asBoolean(true);
        }
        case "ByteFallback" -> byteFallback = true;
        case "Fuse" -> fused = true;
        case "Strip" -> {
          if (!fused
              || !step.path("content").asText().equals(" ")
              || step.path("stop").asInt() != 0) {
            throw unsupported("Strip with " + step);
          }
          strip = step.path("start").asInt();
        }
        default -> throw unsupported(type);
      }
    }
    return new Pieces(from, to, byteFallback, dropFirst, strip);
  }

  private static UnsupportedModelException unsupported(String type) {
    return new UnsupportedModelException(
        "tokenizer.json: decoder: "
            + type
            + " (expected: ByteLevel, Metaspace or a Sequence of Replace, ByteFallback, Fuse and"
            + " Strip)");
  }

  /** Byte-level vocabularies: each character of a token stands for one byte. */
  final class ByteLevel implements TokenDecoder {
    @Override
    public void feed(String token, boolean first, Utf8Decoder out) {
      for (int i = 0; i < token.length(); i++) {
        if (ByteLevelAlphabet.byteOf(token.charAt(i)) < 0) {
          // Not in the alphabet: an added token, whose text stands for itself.
          out.text(token);
          return;
        }
      }
      for (int i = 0; i < token.length(); i++) {
        out.one(ByteLevelAlphabet.byteOf(token.charAt(i)));
      }
    }

    @Override
    public int leadingSpacesDropped() {
      return 0;
    }

    @Override
    public byte[] bytes(String token) {
      byte[] bytes = new byte[token.length()];
      for (int i = 0; i < bytes.length; i++) {
        int b = ByteLevelAlphabet.byteOf(token.charAt(i));
        if (b < 0) {
          return token.getBytes(StandardCharsets.UTF_8);
        }
        bytes[i] = (byte) b;
      }
      return bytes;
    }
  }

  /**
   * SentencePiece vocabularies: pieces of text with a visible sign for the space, and {@code
   * <0xNN>} for single bytes.
   */
  final class Pieces implements TokenDecoder {
    private final String from;
    private final String to;
    private final boolean byteFallback;
    private final boolean dropInFirst;
    private final int strip;

    Pieces(String from, String to, boolean byteFallback, boolean dropInFirst, int strip) {
      this.from = from;
      this.to = to;
      this.byteFallback = byteFallback;
      this.dropInFirst = dropInFirst;
      this.strip = strip;
    }

    @Override
    public void feed(String token, boolean first, Utf8Decoder out) {
      int b = byteFallback ? byteOf(token) : -1;
      if (b >= 0) {
        out.one(b);
      } else if (from.isEmpty()) {
        out.text(token);
      } else {
        out.text(token.replace(from, first && dropInFirst ? "" : to));
      }
    }

    @Override
    public int leadingSpacesDropped() {
      return strip;
    }

    @Override
    public byte[] bytes(String token) {
      int b = byteFallback ? byteOf(token) : -1;
      if (b >= 0) {
        return new byte[] {(byte) b};
      }
      String text = from.isEmpty() ? token : token.replace(from, to);
      return text.getBytes(StandardCharsets.UTF_8);
    }

    /** The byte that {@code <0xNN>} stands for, or -1. */
    static int byteOf(String token) {
      if (token.length() != 6 || !token.startsWith("<0x") || token.charAt(5) != '>') {
        return -1;
      }
      int high = Character.digit(token.charAt(3), 16);
      int low = Character.digit(token.charAt(4), 16);
      return high < 0 || low < 0 ? -1 : high << 4 | low;
    }
  }
}

package ai.sluice.text;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.UnsupportedModelException;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Writes the tokenizer.json that a GGUF vocabulary stands for. */
final class GgufTokenizerJson {
  private static final String SPACE_SIGN = "▁";

  private final GgufVocabulary vocabulary;
  private final Map<String, Integer> ids;

  private GgufTokenizerJson(GgufVocabulary vocabulary) {
    this.vocabulary = vocabulary;
    List<String> tokens = vocabulary.tokens();
    ids = new HashMap<>(tokens.size() * 2);
    for (int id = 0; id < tokens.size(); id++) {
      ids.putIfAbsent(tokens.get(id), id);
    }
  }

  /**
   * The JSON of a tokenizer with the same tokens, ids and splits.
   *
   * @throws UnsupportedModelException for a model or pre-tokenizer of another kind
   * @throws CheckpointFormatException if a merge is malformed or scores are missing
   */
  static byte[] write(GgufVocabulary vocabulary) {
    try {
      return switch (vocabulary.model()) {
        case "gpt2" -> new GgufTokenizerJson(vocabulary).byteLevel();
        case "llama" -> new GgufTokenizerJson(vocabulary).sentencePiece();
        default ->
            throw new UnsupportedModelException(
                "tokenizer.ggml.model: "
                    + vocabulary.model()
                    + " (expected: gpt2 or llama; remedy: use"
                    + " the model's Hugging Face folder with its tokenizer.json)");
      };
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The tokens by id, also those whose text occurs twice. */
  static Vocabulary vocabulary(GgufVocabulary source) {
    Vocabulary.Builder builder = new Vocabulary.Builder(null);
    for (int id = 0; id < source.tokens().size(); id++) {
      int type = source.type(id);
      if (type == GgufVocabulary.CONTROL || type == GgufVocabulary.UNKNOWN) {
        builder.addAdded(id, source.tokens().get(id), true);
      } else {
        builder.add(id, source.tokens().get(id));
      }
    }
    return builder.build();
  }

  /** How the tokens become text. */
  static TokenDecoder decoder(GgufVocabulary source) {
    return source.model().equals("llama")
        ? new TokenDecoder.Pieces(SPACE_SIGN, " ", true, false, hasSpacePrefix(source) ? 1 : 0)
        : new TokenDecoder.ByteLevel();
  }

  private static boolean hasSpacePrefix(GgufVocabulary source) {
    return !Boolean.FALSE.equals(source.addSpacePrefix());
  }

  private byte[] byteLevel() throws IOException {
    GgufPreTokenizer pre = GgufPreTokenizer.named(vocabulary.pre());
    List<String[]> merges = new ArrayList<>(vocabulary.merges().size());
    for (String merge : vocabulary.merges()) {
      int space = merge.indexOf(' ', 1);
      if (space < 0 || space == merge.length() - 1) {
        throw new CheckpointFormatException(
            null,
            "tokenizer.ggml.merges",
            "\"" + merge + "\" (expected: two tokens with a space between)");
      }
      merges.add(new String[] {merge.substring(0, space), merge.substring(space + 1)});
    }
    ObjectNode normalizer = pre.nfc() ? object("NFC") : null;
    ObjectNode decoder =
        object("ByteLevel")
            .put("add_prefix_space", false)
            .put("trim_offsets", true)
            .put("use_regex", true);
    return write(normalizer, pre.json(), decoder, merges, pre.ignoreMerges(), false);
  }

  private byte[] sentencePiece() throws IOException {
    if (!vocabulary.hasScores()) {
      throw new CheckpointFormatException(
          null, "tokenizer.ggml.scores", "missing (expected: a score for each token)");
    }
    boolean prefix = hasSpacePrefix(vocabulary);
    ObjectNode normalizer = object("Sequence");
    ArrayNode normalizers = normalizer.putArray("normalizers");
    if (prefix) {
      normalizers.add(object("Prepend").put("prepend", SPACE_SIGN));
    }
    normalizers.add(replace(" ", SPACE_SIGN));
    ObjectNode decoder = object("Sequence");
    ArrayNode decoders = decoder.putArray("decoders");
    decoders.add(replace(SPACE_SIGN, " "));
    decoders.add(object("ByteFallback"));
    decoders.add(object("Fuse"));
    if (prefix) {
      decoders.add(object("Strip").put("content", " ").put("start", 1).put("stop", 0));
    }
    return write(normalizer, null, decoder, mergesByScore(), false, true);
  }

  /**
   * SentencePiece merges the neighbours whose joint piece has the best score. The same choice as a
   * list of merges: every split of every piece into two pieces, best score first; among the splits
   * of one score, the one whose parts have the smaller ids.
   */
  private List<String[]> mergesByScore() {
    record Merge(String left, String right, float score, int leftId, int rightId) {}

    List<String> tokens = vocabulary.tokens();
    List<Merge> merges = new ArrayList<>();
    for (int id = 0; id < tokens.size(); id++) {
      if (!isMergeable(id)) {
        continue;
      }
      String piece = tokens.get(id);
      for (int cut = 1; cut < piece.length(); cut++) {
        if (Character.isLowSurrogate(piece.charAt(cut))) {
          continue;
        }
        Integer left = ids.get(piece.substring(0, cut));
        if (left == null || !isMergeable(left)) {
          continue;
        }
        Integer right = ids.get(piece.substring(cut));
        if (right != null && isMergeable(right)) {
          merges.add(
              new Merge(
                  piece.substring(0, cut),
                  piece.substring(cut),
                  vocabulary.score(id),
                  left,
                  right));
        }
      }
    }
    merges.sort(
        (a, b) -> {
          int byScore = Float.compare(b.score(), a.score());
          if (byScore != 0) {
            return byScore;
          }
          int byLeft = Integer.compare(a.leftId(), b.leftId());
          return byLeft != 0 ? byLeft : Integer.compare(a.rightId(), b.rightId());
        });
    List<String[]> pairs = new ArrayList<>(merges.size());
    for (Merge merge : merges) {
      pairs.add(new String[] {merge.left(), merge.right()});
    }
    return pairs;
  }

  private boolean isMergeable(int id) {
    int type = vocabulary.type(id);
    return type == GgufVocabulary.NORMAL
        || type == GgufVocabulary.USER_DEFINED
        || type == GgufVocabulary.UNUSED;
  }

  private byte[] write(
      @Nullable ObjectNode normalizer,
      @Nullable ObjectNode preTokenizer,
      ObjectNode decoder,
      List<String[]> merges,
      boolean ignoreMerges,
      boolean sentencePiece)
      throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream(1 << 20);
    try (JsonGenerator json = Json.MAPPER.createGenerator(bytes)) {
      json.writeStartObject();
      json.writeStringField("version", "1.0");
      json.writeNullField("truncation");
      json.writeNullField("padding");
      json.writeArrayFieldStart("added_tokens");
      for (int id = 0; id < vocabulary.tokens().size(); id++) {
        added(json, id);
      }
      json.writeEndArray();
      json.writeObjectField("normalizer", normalizer);
      json.writeObjectField("pre_tokenizer", preTokenizer);
      json.writeNullField("post_processor");
      json.writeObjectField("decoder", decoder);
      json.writeObjectFieldStart("model");
      json.writeStringField("type", "BPE");
      json.writeNullField("dropout");
      if (sentencePiece && vocabulary.unkId().isPresent()) {
        json.writeStringField("unk_token", vocabulary.tokens().get(vocabulary.unkId().getAsInt()));
      } else {
        json.writeNullField("unk_token");
      }
      json.writeNullField("continuing_subword_prefix");
      json.writeNullField("end_of_word_suffix");
      json.writeBooleanField("fuse_unk", sentencePiece);
      json.writeBooleanField("byte_fallback", sentencePiece);
      json.writeBooleanField("ignore_merges", ignoreMerges);
      json.writeObjectFieldStart("vocab");
      for (int id = 0; id < vocabulary.tokens().size(); id++) {
        if (ids.get(vocabulary.tokens().get(id)) == id) {
          json.writeNumberField(vocabulary.tokens().get(id), id);
        }
      }
      json.writeEndObject();
      json.writeArrayFieldStart("merges");
      for (String[] merge : merges) {
        json.writeStartArray();
        json.writeString(merge[0]);
        json.writeString(merge[1]);
        json.writeEndArray();
      }
      json.writeEndArray();
      json.writeEndObject();
      json.writeEndObject();
    }
    return bytes.toByteArray();
  }

  private void added(JsonGenerator json, int id) throws IOException {
    int type = vocabulary.type(id);
    boolean special = type == GgufVocabulary.CONTROL || type == GgufVocabulary.UNKNOWN;
    String token = vocabulary.tokens().get(id);
    if (!special && type != GgufVocabulary.USER_DEFINED || ids.get(token) != id) {
      return;
    }
    json.writeStartObject();
    json.writeNumberField("id", id);
    json.writeStringField("content", token);
    json.writeBooleanField("single_word", false);
    json.writeBooleanField("lstrip", false);
    json.writeBooleanField("rstrip", false);
    json.writeBooleanField("normalized", false);
    json.writeBooleanField("special", special);
    json.writeEndObject();
  }

  private static ObjectNode replace(String from, String to) {
    ObjectNode node = object("Replace");
    node.putObject("pattern").put("String", from);
    return node.put("content", to);
  }

  private static ObjectNode object(String type) {
    return Json.MAPPER.createObjectNode().put("type", type);
  }
}

package ai.sluice.text;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.api.UnsupportedModelException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/**
 * A tokenizer.json, read and checked.
 *
 * <p>The native library aborts the process on some malformed files, so it never sees the file: it
 * gets a document written here, of parts whose shape was checked. Decoding and the tokens at the
 * ends of a document are done in Java, and truncation and padding not at all, so these parts of the
 * file go no further.
 */
final class TokenizerJson {
  private static final Set<String> MODELS = Set.of("BPE", "Unigram");
  private static final Set<String> NORMALIZERS =
      Set.of(
          "Sequence",
          "NFC",
          "NFD",
          "NFKC",
          "NFKD",
          "Replace",
          "Prepend",
          "Lowercase",
          "Strip",
          "StripAccents",
          "Nmt");
  private static final Set<String> PRE_TOKENIZERS =
      Set.of(
          "Sequence",
          "Split",
          "ByteLevel",
          "Digits",
          "Metaspace",
          "Punctuation",
          "Whitespace",
          "WhitespaceSplit",
          "UnicodeScripts");

  private final byte[] json;
  private final @Nullable Path file;
  private final Vocabulary vocabulary;
  private final TokenDecoder decoder;
  private final DocumentEnds ends;
  private final ObjectNode head = Json.MAPPER.createObjectNode();
  private final ObjectNode model = Json.MAPPER.createObjectNode();
  private final List<ObjectNode> added = new ArrayList<>();
  private final Set<Integer> inModel = new java.util.HashSet<>();
  private byte[] vocabularyJson = {};
  private byte @Nullable [] mergesJson;
  private int modelSize;
  private int lastAdded = -1;

  /**
   * Reads a tokenizer.json.
   *
   * @param json its bytes
   * @param file named in failures, or null
   * @throws CheckpointFormatException if it is not the JSON of a tokenizer
   * @throws UnsupportedModelException for a part of a kind that is not supported, by its name
   */
  TokenizerJson(byte[] json, @Nullable Path file) {
    this.json = json;
    this.file = file;
    Vocabulary.Builder builder = new Vocabulary.Builder(file);
    JsonNode decoderNode = null;
    JsonNode addedNode = null;
    JsonNode postProcessor = null;
    JsonScanner scanner = new JsonScanner(json, file);
    scanner.expect('{');
    for (boolean first = true; scanner.hasNext(first, '}'); first = false) {
      switch (scanner.key()) {
        case "added_tokens" -> addedNode = tree(scanner);
        case "decoder" -> decoderNode = tree(scanner);
        case "post_processor" -> postProcessor = tree(scanner);
        case "normalizer" -> head.set("normalizer", step("normalizer", tree(scanner), NORMALIZERS));
        case "pre_tokenizer" ->
            head.set("pre_tokenizer", step("pre_tokenizer", tree(scanner), PRE_TOKENIZERS));
        case "model" -> model(scanner, builder);
        default -> scanner.skipValue();
      }
    }
    scanner.end();
    require(builder.size() > 0, "no model.vocab");
    if (addedNode != null) {
      addedNode.forEach(token -> addToken(token, builder));
    }
    vocabulary = builder.build();
    decoder = TokenDecoder.fromJson(decoderNode);
    ends = DocumentEnds.fromJson(postProcessor, file);
  }

  Vocabulary vocabulary() {
    return vocabulary;
  }

  TokenDecoder decoder() {
    return decoder;
  }

  /** The tokens that the post-processor puts around a document. */
  DocumentEnds ends() {
    return ends;
  }

  private JsonNode tree(JsonScanner scanner) {
    scanner.peek();
    int start = scanner.position();
    scanner.skipValue();
    try {
      return Json.MAPPER.readTree(json, start, scanner.position() - start);
    } catch (IOException e) {
      throw failure("not valid JSON: " + e.getMessage());
    }
  }

  /** Checks a normalizer or pre-tokenizer: an object with a known type, as are those within it. */
  private @Nullable JsonNode step(String part, JsonNode node, Set<String> known) {
    if (node.isNull()) {
      return null;
    }
    String type = node.path("type").asText();
    require(node.isObject() && node.path("type").isTextual(), part + ": no object with a type");
    if (!known.contains(type)) {
      throw new UnsupportedModelException(
          "tokenizer.json: "
              + part
              + ": "
              + type
              + " (expected: "
              + String.join(", ", new java.util.TreeSet<>(known))
              + ")");
    }
    if (type.equals("Sequence")) {
      JsonNode children = node.path(part.equals("normalizer") ? "normalizers" : "pretokenizers");
      require(children.isArray(), part + ": a Sequence without its list");
      children.forEach(child -> step(part, child, known));
    }
    return node;
  }

  private void model(JsonScanner scanner, Vocabulary.Builder builder) {
    scanner.expect('{');
    for (boolean first = true; scanner.hasNext(first, '}'); first = false) {
      String key = scanner.key();
      scanner.peek();
      int start = scanner.position();
      if (key.equals("vocab")) {
        vocabulary(scanner, builder);
        vocabularyJson = Arrays.copyOfRange(json, start, scanner.position());
      } else if (key.equals("merges")) {
        merges(scanner);
        mergesJson = Arrays.copyOfRange(json, start, scanner.position());
      } else {
        model.set(key, tree(scanner));
      }
    }
    // Files of the first years name no type where they hold merges.
    String type = model.path("type").asText(mergesJson == null ? "" : "BPE");
    require(!type.isEmpty(), "model without a type");
    if (!MODELS.contains(type)) {
      throw new UnsupportedModelException(
          "tokenizer.json: model: " + type + " (expected: BPE or Unigram)");
    }
    checkModel(type);
  }

  private void vocabulary(JsonScanner scanner, Vocabulary.Builder builder) {
    if (scanner.skip('[')) {
      for (boolean first = true; scanner.hasNext(first, ']'); first = false) {
        scanner.expect('[');
        builder.add(modelSize++, scanner.string());
        scanner.expect(',');
        scanner.number();
        scanner.expect(']');
      }
      return;
    }
    scanner.expect('{');
    for (boolean first = true; scanner.hasNext(first, '}'); first = false) {
      String token = scanner.key();
      builder.add(scanner.integer(), token);
      modelSize++;
    }
  }

  private static void merges(JsonScanner scanner) {
    scanner.expect('[');
    for (boolean first = true; scanner.hasNext(first, ']'); first = false) {
      if (scanner.skip('[')) {
        scanner.skipString();
        scanner.expect(',');
        scanner.skipString();
        scanner.expect(']');
      } else {
        scanner.skipString();
      }
    }
  }

  private void checkModel(String type) {
    boolean isBpe = type.equals("BPE");
    require(
        isBpe == (vocabularyJson.length > 0 && vocabularyJson[0] == '{'),
        "model.vocab of another shape than " + type + " has");
    require(isBpe == (mergesJson != null), "model.merges " + (isBpe ? "missing" : "unexpected"));
    ObjectNode checked = Json.MAPPER.createObjectNode().put("type", type);
    if (isBpe) {
      for (String key : List.of("dropout", "continuing_subword_prefix", "end_of_word_suffix")) {
        JsonNode value = model.path(key);
        boolean isAbsent =
            value.isMissingNode()
                || value.isNull()
                || value.isTextual() && value.asText().isEmpty()
                || value.isNumber() && value.asDouble() == 0;
        if (!isAbsent) {
          throw new UnsupportedModelException(
              "tokenizer.json: model." + key + ": " + value + " (expected: null)");
        }
      }
      checked.set("unk_token", optional("unk_token", JsonNode::isTextual));
      for (String key : List.of("fuse_unk", "byte_fallback", "ignore_merges")) {
        JsonNode value = optional(key, JsonNode::isBoolean);
        checked.put(key, value != null && value.asBoolean());
      }
    } else {
      checked.set(
          "unk_id",
          optional(
              "unk_id", value -> value.isInt() && value.asInt() >= 0 && value.asInt() < modelSize));
      JsonNode fallback = optional("byte_fallback", JsonNode::isBoolean);
      checked.put("byte_fallback", fallback != null && fallback.asBoolean());
    }
    model.removeAll();
    model.setAll(checked);
  }

  private @Nullable JsonNode optional(String key, java.util.function.Predicate<JsonNode> isGood) {
    JsonNode value = model.path(key);
    if (value.isMissingNode() || value.isNull()) {
      return null;
    }
    require(isGood.test(value), "model." + key + ": " + value);
    return value;
  }

  /**
   * Takes one added token. The library numbers those that the model does not know by their order; a
   * file that numbers them otherwise would get other ids than it says.
   */
  private void addToken(JsonNode token, Vocabulary.Builder builder) {
    require(
        token.path("id").isInt() && token.path("content").isTextual(),
        "added_tokens: an entry without id and content");
    int id = token.path("id").asInt();
    String content = token.path("content").asText();
    boolean special = token.path("special").asBoolean();
    require(!content.isEmpty(), "added_tokens: an empty text");
    if (builder.has(id, content)) {
      inModel.add(id);
    } else {
      int next = lastAdded >= modelSize ? lastAdded + 1 : modelSize;
      require(
          id == next,
          "added_tokens: \"" + content + "\" has id " + id + " where " + next + " is next");
    }
    lastAdded = Math.max(lastAdded, id);
    builder.addAdded(id, content, special);
    ObjectNode entry = Json.MAPPER.createObjectNode();
    entry.put("id", id);
    entry.put("content", content);
    for (String key : List.of("single_word", "lstrip", "rstrip", "normalized")) {
      entry.put(key, token.path(key).asBoolean());
    }
    entry.put("special", special);
    added.add(entry);
  }

  /**
   * The document for the native library.
   *
   * @param parseSpecialTokens whether special tokens are matched in text. Without, one that the
   *     model's own vocabulary holds is not listed, and one beyond it gives up its text for one
   *     that no input contains, so that all ids stay as they are
   */
  String nativeJson(boolean parseSpecialTokens) {
    ArrayNode tokens = Json.MAPPER.createArrayNode();
    for (ObjectNode token : added) {
      if (parseSpecialTokens || !token.path("special").asBoolean()) {
        tokens.add(token);
      } else if (!inModel.contains(token.path("id").asInt())) {
        tokens.add(token.deepCopy().put("content", "\u0000" + UUID.randomUUID()));
      }
    }
    StringBuilder out = new StringBuilder(json.length + 4096);
    out.append("{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":")
        .append(tokens);
    for (String part : List.of("normalizer", "pre_tokenizer")) {
      out.append(",\"")
          .append(part)
          .append("\":")
          .append(head.path(part).isObject() ? head.path(part).toString() : "null");
    }
    out.append(",\"post_processor\":null,\"decoder\":null,\"model\":");
    String scalars = model.toString();
    out.append(scalars, 0, scalars.length() - 1).append(",\"vocab\":").append(text(vocabularyJson));
    if (mergesJson != null) {
      out.append(",\"merges\":").append(text(mergesJson));
    }
    return out.append("}}").toString();
  }

  private void require(boolean condition, String problem) {
    if (!condition) {
      throw failure(problem);
    }
  }

  private CheckpointFormatException failure(String problem) {
    return new CheckpointFormatException(file, null, problem + " (expected: a tokenizer.json)");
  }

  /** The text of UTF-8 bytes. */
  static String text(byte[] json) {
    return new String(json, StandardCharsets.UTF_8);
  }
}

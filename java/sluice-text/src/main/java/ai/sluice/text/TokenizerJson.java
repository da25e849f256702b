package ai.sluice.text;

import ai.sluice.api.CheckpointFormatException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/**
 * What Java itself needs of a tokenizer.json: the tokens by id and the decoder. One pass; merges
 * and the rest of the pipeline are the native library's business, which also checks the whole
 * syntax.
 *
 * @param vocabulary the tokens by id
 * @param decoder how they become text
 */
record TokenizerJson(Vocabulary vocabulary, TokenDecoder decoder) {

  /**
   * Reads a tokenizer.json.
   *
   * @param json its bytes
   * @param file named in failures, or null
   * @throws CheckpointFormatException if it is not the JSON of a tokenizer
   * @throws ai.sluice.api.UnsupportedModelException for a decoder of another kind
   */
  static TokenizerJson parse(byte[] json, @Nullable Path file) {
    Vocabulary.Builder vocabulary = new Vocabulary.Builder(file);
    JsonNode decoder = null;
    JsonNode added = null;
    JsonScanner scanner = new JsonScanner(json, file);
    scanner.expect('{');
    for (boolean first = true; scanner.hasNext(first, '}'); first = false) {
      switch (scanner.key()) {
        case "added_tokens" -> added = tree(json, scanner, file);
        case "decoder" -> decoder = tree(json, scanner, file);
        case "model" -> model(scanner, vocabulary, null);
        default -> scanner.skipValue();
      }
    }
    expect(vocabulary.size() > 0, file, "no model.vocab");
    if (added != null) {
      for (JsonNode token : added) {
        expect(
            token.path("id").isInt() && token.path("content").isTextual(),
            file,
            "added_tokens: an entry without id and content");
        vocabulary.addAdded(
            token.path("id").asInt(),
            token.path("content").asText(),
            token.path("special").asBoolean());
      }
    }
    return new TokenizerJson(vocabulary.build(), TokenDecoder.fromJson(decoder));
  }

  private static JsonNode tree(byte[] json, JsonScanner scanner, @Nullable Path file) {
    scanner.peek();
    int start = scanner.position();
    scanner.skipValue();
    try {
      return Json.MAPPER.readTree(json, start, scanner.position() - start);
    } catch (IOException e) {
      throw new CheckpointFormatException(
          file, null, "not valid JSON: " + e.getMessage() + " (expected: a tokenizer.json)", e);
    }
  }

  /** Reads {@code model.vocab} into a vocabulary, or only its texts into a set. */
  private static void model(
      JsonScanner scanner, Vocabulary.@Nullable Builder vocabulary, @Nullable Set<String> texts) {
    scanner.expect('{');
    for (boolean first = true; scanner.hasNext(first, '}'); first = false) {
      if (!scanner.key().equals("vocab")) {
        scanner.skipValue();
      } else if (scanner.skip('[')) {
        int id = 0;
        for (boolean head = true; scanner.hasNext(head, ']'); head = false) {
          scanner.expect('[');
          take(scanner.string(), id++, vocabulary, texts);
          while (scanner.skip(',')) {
            scanner.skipValue();
          }
          scanner.expect(']');
        }
      } else {
        scanner.expect('{');
        for (boolean head = true; scanner.hasNext(head, '}'); head = false) {
          String token = scanner.key();
          take(token, scanner.integer(), vocabulary, texts);
        }
      }
    }
  }

  private static void take(
      String token, int id, Vocabulary.@Nullable Builder vocabulary, @Nullable Set<String> texts) {
    if (vocabulary != null) {
      vocabulary.add(id, token);
    }
    if (texts != null) {
      texts.add(token);
    }
  }

  private static void expect(boolean condition, @Nullable Path file, String problem) {
    if (!condition) {
      throw new CheckpointFormatException(file, null, problem + " (expected: a tokenizer.json)");
    }
  }

  /**
   * The same tokenizer with no special token matched in text, all ids as they were. A special token
   * that the model's own vocabulary holds is no longer listed; one beyond it gives up its text for
   * one that no input contains, since the library numbers those by their order. Only the list of
   * added tokens is written anew, the rest copied.
   *
   * @param json a tokenizer.json that {@link #parse} accepted
   */
  static String withoutSpecialTokens(byte[] json) {
    Set<String> texts = new HashSet<>();
    JsonNode added = null;
    int start = 0;
    int end = 0;
    JsonScanner scanner = new JsonScanner(json, null);
    scanner.expect('{');
    for (boolean first = true; scanner.hasNext(first, '}'); first = false) {
      switch (scanner.key()) {
        case "added_tokens" -> {
          scanner.peek();
          start = scanner.position();
          added = tree(json, scanner, null);
          end = scanner.position();
        }
        case "model" -> model(scanner, null, texts);
        default -> scanner.skipValue();
      }
    }
    if (added == null) {
      return text(json);
    }
    ArrayNode kept = Json.MAPPER.createArrayNode();
    for (JsonNode token : added) {
      if (!token.path("special").asBoolean()) {
        kept.add(token);
      } else if (!texts.contains(token.path("content").asText())) {
        kept.add(((ObjectNode) token.deepCopy()).put("content", "\u0000" + UUID.randomUUID()));
      }
    }
    return text(Arrays.copyOf(json, start))
        + kept
        + text(Arrays.copyOfRange(json, end, json.length));
  }

  /** The text of UTF-8 bytes. */
  static String text(byte[] json) {
    return new String(json, StandardCharsets.UTF_8);
  }
}

package ai.sluice.text;

import ai.sluice.api.CheckpointFormatException;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/**
 * What Java itself needs of a tokenizer.json: the tokens by id and the decoder. One streaming pass;
 * merges and the rest of the pipeline are the native library's business.
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
    boolean hasModel = false;
    try (JsonParser parser = Json.FACTORY.createParser(json)) {
      parser.setCodec(Json.MAPPER);
      expect(parser.nextToken() == JsonToken.START_OBJECT, file, "no JSON object");
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        String key = parser.currentName();
        parser.nextToken();
        switch (key) {
          case "added_tokens" -> added = parser.readValueAsTree();
          case "decoder" -> decoder = parser.readValueAsTree();
          case "model" -> {
            hasModel = true;
            model(parser, vocabulary, file);
          }
          default -> parser.skipChildren();
        }
      }
    } catch (JsonProcessingException e) {
      throw new CheckpointFormatException(file, null, "not valid JSON: " + e.getOriginalMessage()
          + " (expected: a tokenizer.json)", e);
    } catch (IOException e) {
      throw new CheckpointFormatException(file, null, "cannot be read: " + e.getMessage(), e);
    }
    expect(hasModel && vocabulary.size() > 0, file, "no model.vocab");
    if (added != null && added.isArray()) {
      for (JsonNode token : added) {
        expect(token.path("id").isInt() && token.path("content").isTextual(), file,
            "added_tokens: an entry without id and content");
        vocabulary.addAdded(token.path("id").asInt(), token.path("content").asText(),
            token.path("special").asBoolean());
      }
    }
    return new TokenizerJson(vocabulary.build(), TokenDecoder.fromJson(decoder));
  }

  private static void model(JsonParser parser, Vocabulary.Builder vocabulary, @Nullable Path file)
      throws IOException {
    expect(parser.currentToken() == JsonToken.START_OBJECT, file, "model is no object");
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String key = parser.currentName();
      JsonToken value = parser.nextToken();
      if (!key.equals("vocab")) {
        parser.skipChildren();
      } else if (value == JsonToken.START_OBJECT) {
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
          String token = parser.currentName();
          expect(parser.nextToken() == JsonToken.VALUE_NUMBER_INT, file,
              "model.vocab: an id that is no integer");
          vocabulary.add(parser.getIntValue(), token);
        }
      } else if (value == JsonToken.START_ARRAY) {
        int id = 0;
        while (parser.nextToken() == JsonToken.START_ARRAY) {
          expect(parser.nextToken() == JsonToken.VALUE_STRING, file,
              "model.vocab: an entry that is no [token, score]");
          vocabulary.add(id++, parser.getText());
          while (parser.nextToken() != JsonToken.END_ARRAY) {
            parser.skipChildren();
          }
        }
      } else {
        expect(false, file, "model.vocab is neither object nor array");
      }
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
   * one that no input contains, since the library numbers those by their order.
   */
  static String withoutSpecialTokens(byte[] json) {
    try {
      ObjectNode root = (ObjectNode) Json.MAPPER.readTree(json);
      Set<String> vocabulary = new HashSet<>();
      JsonNode vocab = root.path("model").path("vocab");
      if (vocab.isObject()) {
        vocab.fieldNames().forEachRemaining(vocabulary::add);
      } else {
        vocab.forEach(entry -> vocabulary.add(entry.path(0).asText()));
      }
      ArrayNode kept = Json.MAPPER.createArrayNode();
      for (JsonNode token : root.path("added_tokens")) {
        String content = token.path("content").asText();
        if (!token.path("special").asBoolean()) {
          kept.add(token);
        } else if (!vocabulary.contains(content)) {
          kept.add(((ObjectNode) token.deepCopy()).put("content", "\u0000" + UUID.randomUUID()));
        }
      }
      root.set("added_tokens", kept);
      return Json.MAPPER.writeValueAsString(root);
    } catch (IOException e) {
      throw new IllegalStateException("a tokenizer.json that was read before cannot be read", e);
    }
  }

  static String text(byte[] json) {
    return new String(json, StandardCharsets.UTF_8);
  }
}

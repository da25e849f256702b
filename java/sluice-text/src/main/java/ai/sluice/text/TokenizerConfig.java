package ai.sluice.text;

import ai.sluice.api.CheckpointFormatException;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What counts in a tokenizer_config.json: the names of special tokens, whether encoding adds them,
 * and the chat templates by name ("default" for the only one).
 */
record TokenizerConfig(
    @Nullable String bosToken,
    @Nullable String eosToken,
    @Nullable String unkToken,
    @Nullable String padToken,
    @Nullable Boolean addBosToken,
    @Nullable Boolean addEosToken,
    Map<String, String> chatTemplates) {

  static final TokenizerConfig EMPTY =
      new TokenizerConfig(null, null, null, null, null, null, Map.of());

  static TokenizerConfig parse(byte[] json, @Nullable Path file) {
    JsonNode root;
    try {
      root = Json.MAPPER.readTree(json);
    } catch (IOException e) {
      throw new CheckpointFormatException(file, null, "not valid JSON: " + e.getMessage(), e);
    }
    if (!root.isObject()) {
      throw new CheckpointFormatException(
          file, null, "no JSON object (expected: a tokenizer_config.json)");
    }
    return new TokenizerConfig(
        token(root, "bos_token"),
        token(root, "eos_token"),
        token(root, "unk_token"),
        token(root, "pad_token"),
        flag(root, "add_bos_token"),
        flag(root, "add_eos_token"),
        templates(root.path("chat_template"), file));
  }

  /** A token is written as a string or as an object with the string in "content". */
  private static @Nullable String token(JsonNode root, String key) {
    JsonNode value = root.path(key);
    if (value.isObject()) {
      value = value.path("content");
    }
    return value.isTextual() ? value.asText() : null;
  }

  private static @Nullable Boolean flag(JsonNode root, String key) {
    return root.path(key).isBoolean() ? root.path(key).asBoolean() : null;
  }

  private static Map<String, String> templates(JsonNode value, @Nullable Path file) {
    Map<String, String> templates = new LinkedHashMap<>();
    if (value.isTextual()) {
      templates.put("default", value.asText());
    } else if (value.isArray()) {
      for (JsonNode entry : value) {
        if (!entry.path("name").isTextual() || !entry.path("template").isTextual()) {
          throw new CheckpointFormatException(
              file, "chat_template", "an entry without name and template (expected: both)");
        }
        templates.put(entry.path("name").asText(), entry.path("template").asText());
      }
    }
    return templates;
  }
}

package ai.sluice.checkpoint;

import ai.sluice.api.CheckpointFormatException;
import ai.sluice.checkpoint.io.StrictJson;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.common.collect.ImmutableMap;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * What a folder says about its tokenizer beside tokenizer.json: the texts of special tokens and the
 * chat templates.
 *
 * @param source the tokenizer's files, if there is a tokenizer.json
 * @param bosToken text of the token in front, if named
 * @param eosToken text of the token after, if named
 * @param chatTemplates Jinja templates by name; the usual one is "default"
 */
record TokenizerSettings(
    Optional<TokenizerSource> source,
    Optional<String> bosToken,
    Optional<String> eosToken,
    ImmutableMap<String, String> chatTemplates) {
  static final String DEFAULT_TEMPLATE = "default";
  private static final String TOKENIZER = "tokenizer.json";
  private static final String SETTINGS = "tokenizer_config.json";
  private static final String TEMPLATE = "chat_template.jinja";
  private static final String OLDER_TEMPLATE = "chat_template.json";

  /** Reads what a folder has. */
  static TokenizerSettings read(Path folder) {
    Path tokenizer = folder.resolve(TOKENIZER);
    Path settingsFile = folder.resolve(SETTINGS);
    Optional<Path> settings =
        Files.exists(settingsFile) ? Optional.of(settingsFile) : Optional.empty();
    Map<String, String> templates = new LinkedHashMap<>();
    Optional<String> bos = Optional.empty();
    Optional<String> eos = Optional.empty();
    if (settings.isPresent()) {
      ObjectNode values = StrictJson.readObject(settingsFile);
      bos = token(settingsFile, values, "bos_token");
      eos = token(settingsFile, values, "eos_token");
      addTemplates(settingsFile, values.path("chat_template"), templates);
    }
    Path older = folder.resolve(OLDER_TEMPLATE);
    if (Files.exists(older)) {
      addTemplates(older, StrictJson.readObject(older).path("chat_template"), templates);
    }
    // A file of its own wins, also over templates of other names, as in the reference loader.
    Path template = folder.resolve(TEMPLATE);
    if (Files.exists(template)) {
      byte[] text = StrictJson.readSideFile(template);
      StrictJson.requireUtf8(template, text);
      templates.clear();
      templates.put(DEFAULT_TEMPLATE, new String(text, StandardCharsets.UTF_8));
    }
    return new TokenizerSettings(
        Files.exists(tokenizer)
            ? Optional.of(new TokenizerSource.Files(tokenizer, settings))
            : Optional.empty(),
        bos,
        eos,
        ImmutableMap.copyOf(templates));
  }

  /** A token is written as a text, or as an object with the text under "content". */
  private static Optional<String> token(Path file, ObjectNode values, String key) {
    JsonNode value = values.path(key);
    JsonNode text = value.isObject() ? value.path("content") : value;
    if (value.isMissingNode() || value.isNull()) {
      return Optional.empty();
    }
    if (!text.isTextual()) {
      throw new CheckpointFormatException(
          file,
          key,
          "is a JSON "
              + StrictJson.kind(value)
              + " (expected: a text, or an object with the text under content)");
    }
    return Optional.of(text.textValue());
  }

  private static void addTemplates(Path file, JsonNode value, Map<String, String> templates) {
    if (value.isMissingNode() || value.isNull()) {
      return;
    }
    if (value.isTextual()) {
      templates.put(DEFAULT_TEMPLATE, value.textValue());
      return;
    }
    for (JsonNode entry : value) {
      if (!entry.path("name").isTextual() || !entry.path("template").isTextual()) {
        throw badTemplate(file, value);
      }
      templates.put(entry.get("name").textValue(), entry.get("template").textValue());
    }
    if (!value.isArray()) {
      throw badTemplate(file, value);
    }
  }

  private static CheckpointFormatException badTemplate(Path file, JsonNode value) {
    return new CheckpointFormatException(
        file,
        "chat_template",
        "is a JSON "
            + StrictJson.kind(value)
            + " (expected: a text, or an array of objects with name and template)");
  }
}

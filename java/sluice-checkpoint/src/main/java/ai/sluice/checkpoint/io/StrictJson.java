package ai.sluice.checkpoint.io;

import ai.sluice.api.CheckpointFormatException;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.common.base.Utf8;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/**
 * JSON from untrusted files: UTF-8 only, no duplicate keys, no comments, no trailing text, and caps
 * on depth, number length and text length.
 */
public final class StrictJson {
  /** The largest side file (config, tokenizer settings) that is read, in bytes. */
  public static final int MAX_SIDE_FILE_BYTES = 64 << 20;

  private static final int MAX_NUMBER_LENGTH = 400;
  private static final int MAX_STRING_LENGTH = 16 << 20;
  private static final int SIDE_FILE_DEPTH = 64;

  private static final ObjectMapper TREES =
      JsonMapper.builder(factory(SIDE_FILE_DEPTH))
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private StrictJson() {}

  /** A factory whose parsers refuse duplicate keys and nesting deeper than {@code depth}. */
  public static JsonFactory factory(int depth) {
    return JsonFactory.builder()
        .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
        .streamReadConstraints(
            StreamReadConstraints.builder()
                .maxNestingDepth(depth)
                .maxNumberLength(MAX_NUMBER_LENGTH)
                .maxStringLength(MAX_STRING_LENGTH)
                .build())
        // Names come from untrusted files: do not keep them in tables that outlive the parser.
        .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
        .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
        .build();
  }

  /**
   * A parser over {@code json}, which must be UTF-8. A reader is used on purpose: over bytes the
   * parser would guess UTF-16 and UTF-32 from the first bytes and accept them.
   */
  public static JsonParser parser(JsonFactory factory, Path file, byte[] json) throws IOException {
    requireUtf8(file, json);
    return factory.createParser(
        new InputStreamReader(new ByteArrayInputStream(json), StandardCharsets.UTF_8));
  }

  /**
   * The object that a side file such as {@code config.json} holds.
   *
   * @throws CheckpointFormatException if the file is missing, too large or no JSON object
   */
  public static ObjectNode readObject(Path file) {
    return readObject(file, readSideFile(file));
  }

  /**
   * The object that this text holds.
   *
   * @param file what messages name
   * @throws CheckpointFormatException if it is no JSON object
   */
  public static ObjectNode readObject(Path file, byte[] json) {
    try (JsonParser parser = parser(TREES.getFactory(), file, json)) {
      JsonNode node = TREES.readTree(parser);
      if (node instanceof ObjectNode object) {
        return object;
      }
      throw new CheckpointFormatException(
          file,
          null,
          (node == null || node.isMissingNode() ? "empty" : "holds a JSON " + kind(node))
              + " (expected: a JSON object)");
    } catch (IOException e) {
      throw notJson(file, e);
    }
  }

  /** The bytes of a small file. */
  public static byte[] readSideFile(Path file) {
    try (PositionalFile open = PositionalFile.open(file)) {
      if (open.size() > MAX_SIDE_FILE_BYTES) {
        throw new CheckpointFormatException(
            file, null, open.size() + " bytes (expected: at most " + MAX_SIDE_FILE_BYTES + ")");
      }
      return open.read(0, (int) open.size());
    }
  }

  public static void requireUtf8(Path file, byte[] text) {
    if (!Utf8.isWellFormed(text)) {
      throw new CheckpointFormatException(file, null, "not UTF-8 (expected: JSON in UTF-8)");
    }
  }

  public static CheckpointFormatException notJson(Path file, IOException cause) {
    String what =
        cause instanceof JsonProcessingException problem
            ? Quote.clip(problem.getOriginalMessage()) + at(problem)
            : String.valueOf(cause.getMessage());
    return new CheckpointFormatException(file, null, "not valid JSON: " + what, cause);
  }

  private static String at(JsonProcessingException problem) {
    return problem.getLocation() == null
        ? ""
        : " at line "
            + problem.getLocation().getLineNr()
            + ", column "
            + problem.getLocation().getColumnNr();
  }

  /** The JSON name of a node's kind: object, array, string, number, boolean, null. */
  public static String kind(JsonNode node) {
    return switch (node.getNodeType()) {
      case OBJECT -> "object";
      case ARRAY -> "array";
      case STRING -> "string";
      case NUMBER -> "number";
      case BOOLEAN -> "boolean";
      default -> "null";
    };
  }
}

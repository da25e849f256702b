package ai.sluice.openai;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.exc.StreamConstraintsException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import org.jspecify.annotations.Nullable;

/**
 * JSON objects from strangers: UTF-8 alone, no duplicate keys, no comments, no NaN, nothing behind
 * the object, and bounds on depth, numbers and texts. Thread-safe.
 */
public final class StrictBody {
  /** Objects and arrays within each other that a body may have. */
  public static final int MAX_DEPTH = 100;

  /** Characters that one text may have. */
  public static final int MAX_TEXT_LENGTH = 16 << 20;

  private static final int MAX_NUMBER_LENGTH = 400;
  private static final int MAX_REASON_LENGTH = 200;

  private static final ObjectMapper MAPPER =
      JsonMapper.builder(
              JsonFactory.builder()
                  .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                  .streamReadConstraints(
                      StreamReadConstraints.builder()
                          .maxNestingDepth(MAX_DEPTH)
                          .maxNumberLength(MAX_NUMBER_LENGTH)
                          .maxStringLength(MAX_TEXT_LENGTH)
                          .build())
                  // Keys come from strangers: they are not kept beyond the parser.
                  .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
                  .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
                  .build())
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private StrictBody() {}

  /**
   * Reads an object.
   *
   * @param json bytes in UTF-8
   * @throws OpenAiException if they are not exactly one JSON object within the bounds
   */
  public static ObjectNode parse(byte[] json) {
    String text;
    try {
      // Decoded here, since over bytes the parser would also take UTF-16 and UTF-32.
      text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(json)).toString();
    } catch (CharacterCodingException e) {
      throw malformed("not UTF-8", e);
    }
    return parse(text);
  }

  /**
   * Reads an object.
   *
   * @throws OpenAiException if the text is not exactly one JSON object within the bounds
   */
  public static ObjectNode parse(String json) {
    try (JsonParser parser = MAPPER.getFactory().createParser(json)) {
      JsonNode node = MAPPER.readTree(parser);
      if (node instanceof ObjectNode object) {
        return object;
      }
      throw malformed(
          node == null || node.isMissingNode() ? "empty" : Fields.kind(node), null);
    } catch (JsonProcessingException e) {
      throw malformed(reason(e), e);
    } catch (IOException e) {
      throw malformed(String.valueOf(e.getMessage()), e);
    }
  }

  private static OpenAiException malformed(String what, @Nullable Exception cause) {
    return new OpenAiException(
        OpenAiError.invalid(
            null, "invalid_json", "body: " + what + " (expected: one JSON object in UTF-8)"),
        cause);
  }

  private static String reason(JsonProcessingException e) {
    String reason = String.valueOf(e.getOriginalMessage()).replaceAll("\\s+", " ");
    if (e instanceof StreamConstraintsException) {
      // Names the bound; the rest speaks of a parser's class.
      reason = reason.replaceAll(" \\(`[^)]*\\)", "").replaceAll(", from `[^`]*`\\)?", "");
    }
    if (reason.length() > MAX_REASON_LENGTH) {
      reason = reason.substring(0, MAX_REASON_LENGTH) + "…";
    }
    return e.getLocation() == null
        ? reason
        : reason + " at character " + Math.max(0, e.getLocation().getCharOffset());
  }
}

package ai.sluice.text.output;

import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ToolCall;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The JSON that models write, read strictly. */
final class CallJson {
  private static final StreamReadConstraints CONSTRAINTS =
      StreamReadConstraints.builder()
          .maxNestingDepth(100)
          .maxStringLength(16 << 20)
          .maxNameLength(1 << 16)
          .maxNumberLength(400)
          .build();

  private static final ObjectMapper MAPPER =
      JsonMapper.builder(
              JsonFactory.builder()
                  .streamReadConstraints(CONSTRAINTS)
                  .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                  .build())
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private static final TypeReference<Map<String, @Nullable Object>> OBJECT =
      new TypeReference<>() {};

  private CallJson() {}

  /** An object, or null if the text is none. */
  static @Nullable Map<String, @Nullable Object> object(String text) {
    try {
      return MAPPER.readValue(text, OBJECT);
    } catch (JsonProcessingException e) {
      return null;
    }
  }

  /** A string by its literal, quotes included, or null if it is none. */
  static @Nullable String string(String literal) {
    try {
      return MAPPER.readValue(literal, String.class);
    } catch (JsonProcessingException e) {
      return null;
    }
  }

  /** Whether arguments can be those of a call of a tool. */
  static boolean fits(String name, Map<String, @Nullable Object> arguments) {
    try {
      ToolCall.of(name, arguments);
      return true;
    } catch (InvalidRequestException e) {
      return false; // a number that no double holds
    }
  }
}

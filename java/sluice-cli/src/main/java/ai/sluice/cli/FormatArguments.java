package ai.sluice.cli;

import ai.sluice.api.GenerationRequest;
import ai.sluice.api.InvalidRequestException;
import ai.sluice.api.ResponseFormat;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** The options that say what form an answer must have. */
final class FormatArguments {
  private static final ObjectMapper MAPPER =
      new ObjectMapper()
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .enable(JsonParser.Feature.STRICT_DUPLICATE_DETECTION);

  @Option(
      names = "--json-schema",
      paramLabel = "SCHEMA",
      description = "Answer with JSON that this schema accepts: a file, or the schema itself.")
  @Nullable String jsonSchema;

  @Option(
      names = "--regex",
      paramLabel = "PATTERN",
      description = "Answer with a text that the whole expression matches.")
  @Nullable String regex;

  /**
   * Gives the form to a request, if one was asked for.
   *
   * @throws InvalidRequestException if there are two, or a schema is no JSON object
   */
  void apply(GenerationRequest.Builder request) {
    if (jsonSchema != null && regex != null) {
      throw new InvalidRequestException("--regex: given with --json-schema (expected: one of them)");
    }
    if (jsonSchema != null) {
      Map<String, @Nullable Object> schema = schema(jsonSchema);
      Values.give(
          "--json-schema", schema, s -> request.responseFormat(ResponseFormat.jsonSchema(s)));
    }
    Values.give("--regex", regex, r -> request.responseFormat(ResponseFormat.regex(r)));
  }

  private static Map<String, @Nullable Object> schema(String given) {
    boolean inline = given.stripLeading().startsWith("{");
    String text = inline ? given : Utf8.readFile("--json-schema", given);
    String named = inline ? "" : given + ": ";
    String met;
    try {
      JsonNode schema = MAPPER.readTree(text);
      if (schema.isObject()) {
        return MAPPER.convertValue(schema, new TypeReference<>() {});
      }
      met = schema.isMissingNode() ? "empty" : schema.getNodeType().name().toLowerCase(Locale.ROOT);
    } catch (JsonProcessingException e) {
      throw new InvalidRequestException(
          "--json-schema: " + named + e.getOriginalMessage() + " (expected: a JSON object)", e);
    }
    throw new InvalidRequestException(
        "--json-schema: " + named + met + " (expected: a JSON object)");
  }
}

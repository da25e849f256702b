package ai.sluice.openai;

import ai.sluice.api.GenerationRequest;
import ai.sluice.api.ResponseFormat;
import ai.sluice.api.Sampling;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** The fields of both endpoints that say how is generated. */
final class GenerationFields {
  private static final String NOT_BUILT = "nothing else is built";
  private static final Pattern WHOLE = Pattern.compile("\\d{1,10}");

  private GenerationFields() {}

  /** Reads all but the input, the log-probabilities and the most tokens. */
  static GenerationRequest.Builder read(Fields fields) {
    GenerationRequest.Builder builder = GenerationRequest.builder();
    builder.sampling(sampling(fields));
    fields.give("seed", fields.wholeLong("seed"), builder::seed);
    fields.give("n", fields.whole("n"), builder::n);
    fields.give("stop", stop(fields), builder::stop);
    fields.give(
        "stop_token_ids", wholes("stop_token_ids", fields.array("stop_token_ids")),
        builder::stopTokenIds);
    fields.give("ignore_eos", fields.flag("ignore_eos"), builder::ignoreEos);
    fields.give("priority", fields.whole("priority"), builder::priority);
    fields.give("cache_salt", fields.text("cache_salt"), builder::cacheSalt);
    fields.give(
        "max_reasoning_tokens", fields.whole("max_reasoning_tokens"), builder::maxReasoningTokens);
    fields.give("speculation", fields.flag("speculation"), builder::speculation);
    fields.give("head", fields.text("head"), builder::head);
    fields.give("response_format", responseFormat(fields), builder::responseFormat);
    ignored(fields);
    fields.only("min_tokens", "0", NOT_BUILT);
    fields.only("skip_special_tokens", "true", NOT_BUILT);
    fields.only("spaces_between_special_tokens", "true", NOT_BUILT);
    fields.only("include_stop_str_in_output", "false", NOT_BUILT);
    fields.only("return_routed_experts", "false", NOT_BUILT);
    fields.only("use_beam_search", "false", NOT_BUILT);
    fields.never("prompt_logprobs", "/v1/completions gives them with echo and logprobs");
    fields.never("logits_processors", "no code is taken from a request");
    return builder;
  }

  /** What OpenAI's clients send to its accounts and its billing. */
  private static void ignored(Fields fields) {
    fields.text("user");
    fields.text("safety_identifier");
    fields.text("prompt_cache_key");
    fields.text("service_tier");
    fields.object("metadata");
    fields.only("store", "false", "nothing is stored");
  }

  private static Sampling sampling(Fields fields) {
    Sampling.Builder sampling = Sampling.builder();
    fields.give("temperature", fields.number("temperature"), sampling::temperature);
    fields.give("top_p", fields.number("top_p"), sampling::topP);
    Integer topK = fields.whole("top_k");
    // Clients say "off" both ways.
    fields.give("top_k", topK != null && topK == -1 ? (Integer) 0 : topK, sampling::topK);
    fields.give("min_p", fields.number("min_p"), sampling::minP);
    fields.give(
        "repetition_penalty", fields.number("repetition_penalty"), sampling::repetitionPenalty);
    fields.give("presence_penalty", fields.number("presence_penalty"), sampling::presencePenalty);
    fields.give(
        "frequency_penalty", fields.number("frequency_penalty"), sampling::frequencyPenalty);
    Fields bias = fields.object("logit_bias");
    if (bias != null) {
      JsonNode tokens = fields.required("logit_bias", "an object");
      tokens
          .properties()
          .forEach(
              entry -> {
                int token = token(entry.getKey());
                double value =
                    Fields.number("logit_bias." + entry.getKey(), entry.getValue());
                fields.give(
                    "logit_bias", (float) value, number -> sampling.logitBias(token, number));
              });
    }
    return sampling.build();
  }

  private static int token(String key) {
    if (WHOLE.matcher(key).matches()) {
      long token = Long.parseLong(key);
      if (token <= Integer.MAX_VALUE) {
        return (int) token;
      }
    }
    String shown = key.length() > 20 ? key.substring(0, 20) + "…" : key;
    throw Fields.invalid("logit_bias", "\"" + shown + "\"", "token ids as keys");
  }

  private static @Nullable List<String> stop(Fields fields) {
    JsonNode value = fields.value("stop");
    if (value == null) {
      return null;
    }
    if (value.isTextual()) {
      return List.of(value.textValue());
    }
    if (!value.isArray()) {
      throw Fields.wrongType("stop", value, "a string or an array of strings");
    }
    List<String> texts = new ArrayList<>();
    for (JsonNode element : value) {
      texts.add(Fields.text("stop[" + texts.size() + "]", element));
    }
    return texts;
  }

  /** The numbers of an array of token ids. */
  static int @Nullable [] wholes(String path, @Nullable ArrayNode array) {
    if (array == null) {
      return null;
    }
    int[] numbers = new int[array.size()];
    for (int i = 0; i < numbers.length; i++) {
      JsonNode element = array.get(i);
      if (!element.isInt() || element.intValue() < 0) {
        // The name of each element is only made for one that is refused.
        Fields.whole(path + "[" + i + "]", element, 0, Integer.MAX_VALUE);
      }
      numbers[i] = element.intValue();
    }
    return numbers;
  }

  private static @Nullable ResponseFormat responseFormat(Fields fields) {
    Fields format = fields.object("response_format");
    if (format == null) {
      return null;
    }
    String type = format.requiredText("type", "text, json_object or json_schema");
    ResponseFormat result =
        switch (type) {
          case "text" -> ResponseFormat.text();
          case "json_object" -> ResponseFormat.jsonObject();
          case "json_schema" -> schema(format);
          case "regex" -> regex(format);
          default ->
              throw Fields.invalid(
                  "response_format.type",
                  "\"" + (type.length() > 40 ? type.substring(0, 40) + "…" : type) + "\"",
                  "text, json_object, json_schema or regex");
        };
    format.refuseOthers();
    return result;
  }

  private static ResponseFormat schema(Fields format) {
    Fields outer =
        Fields.object(
            format.path("json_schema"), format.required("json_schema", "an object with a schema"));
    // A name and a description are for the sender; the form is kept to whether strict or not.
    outer.text("name");
    outer.text("description");
    outer.flag("strict");
    outer.required("schema", "a JSON schema");
    ResponseFormat[] made = new ResponseFormat[1];
    Map<String, @Nullable Object> schema = outer.map("schema");
    outer.give("schema", schema, value -> made[0] = ResponseFormat.jsonSchema(value));
    outer.refuseOthers();
    return made[0];
  }

  private static ResponseFormat regex(Fields format) {
    ResponseFormat[] made = new ResponseFormat[1];
    format.give(
        "pattern",
        format.requiredText("pattern", "a regular expression"),
        value -> made[0] = ResponseFormat.regex(value));
    return made[0];
  }

  /**
   * The most tokens, by either of two names.
   *
   * @param least 1, or 0 where a prompt may be scored alone
   * @return null where there is none
   */
  static @Nullable Integer maxTokens(Fields fields, String first, String second, int least) {
    Integer one = fields.whole(first);
    Integer two = fields.whole(second);
    if (one != null && two != null && !one.equals(two)) {
      throw Fields.invalid(
          first, one + " with " + second + ": " + two, "one of them, or the same number");
    }
    String name = one != null ? first : second;
    Integer most = one != null ? one : two;
    if (most != null && most < least) {
      throw Fields.invalid(name, most.toString(), least + " to " + Integer.MAX_VALUE);
    }
    return most;
  }
}
